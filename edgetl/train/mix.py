"""MixUp and CutMix: batches whose images and targets are blends of two."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor

from edgetl.errors import ConfigError
from edgetl.extras import extra
from edgetl.train.torch_random import drawing_from

_IMAGE_AXES = 4


def mix_batch(
    inputs: Tensor,
    labels: Tensor,
    *,
    classes: int,
    mixup: float,
    cutmix: float,
    generator: np.random.Generator,
) -> tuple[Tensor, Tensor | None]:
    """Blend each image of a batch with another of it, as torchvision.transforms.v2 does.

    MixUp (Zhang et al. 2018, arXiv:1710.09412) takes lambda of the one and 1 - lambda of the
    other; CutMix (Yun et al. 2019, arXiv:1905.04899) cuts a box of the other into the one, and
    lambda is the share that is left. lambda is drawn once a batch from Beta(alpha, alpha); the
    targets are blended in the same shares. With both, each batch takes one of them at random.

    Args:
        inputs: uint8 [n, height, width, 3], on the CPU; for MixUp alone also float [n, ...].
        labels: int64 [n].
        classes: K.
        mixup, cutmix: alpha of each; 0 switches it off. Images are mixed more the larger alpha is.
        generator: Where the randomness comes from; the same state gives the same batch.

    Returns:
        The blended inputs, float32 of the same shape (of images 0..255), and the targets, float32
        [n, K]. With both switched off, or one image, which has no other: the batch itself and
        None.

    Raises:
        ConfigError: For an alpha that is below 0 or not finite, and for CutMix of inputs that are
            no images.
        MissingExtraError: When torchvision is not installed.

    Example:
        >>> import torch
        >>> x = torch.tensor([0, 100], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 4, 4, 3)
        >>> mixed, targets = mix_batch(x, torch.tensor([0, 1]), classes=2, mixup=1.0, cutmix=0.0,
        ...                            generator=np.random.default_rng(0))
        >>> torch.allclose(mixed[:, 0, 0, 0] / 100, targets[:, 1])
        True
    """
    alphas = {"mixup": mixup, "cutmix": cutmix}
    for name, alpha in alphas.items():
        _check_alpha(name, alpha)
    kinds = [name for name, alpha in alphas.items() if alpha > 0]
    if not kinds or len(labels) < 2:
        return inputs, None
    if cutmix > 0 and inputs.ndim != _IMAGE_AXES:
        raise ConfigError(
            "cutmix",
            got=f"inputs of shape {list(inputs.shape[1:])}",
            expected="images, of which a box can be cut",
            fix="use mixup for a tensor input, or set cutmix = 0",
        )
    kind = kinds[int(generator.integers(len(kinds)))] if len(kinds) > 1 else kinds[0]
    mix = _transform(kind, float(alphas[kind]), classes)
    with drawing_from(generator):
        mixed, targets = mix(_as_pictures(inputs.float()), labels)
    return _as_given(mixed, inputs), targets


def _check_alpha(name: str, alpha: float) -> None:
    if not (math.isfinite(alpha) and alpha >= 0):
        raise ConfigError(
            name,
            got=repr(alpha),
            expected="alpha of a Beta distribution, a finite number from 0 (off)",
            fix=f"set {name} to 0, or to a number such as 0.2",
        )


@cache
def _transform(kind: str, alpha: float, classes: int) -> Any:
    with extra("train"):
        from torchvision.transforms import v2
    made = v2.MixUp if kind == "mixup" else v2.CutMix
    return made(alpha=alpha, num_classes=classes)


def _as_pictures(inputs: Tensor) -> Tensor:
    """[n, height, width, c] as [n, c, height, width]; anything else as pictures of one row."""
    if inputs.ndim == _IMAGE_AXES:
        return inputs.permute(0, 3, 1, 2)
    return inputs.reshape(len(inputs), 1, 1, -1)


def _as_given(mixed: Tensor, inputs: Tensor) -> Tensor:
    back = mixed.permute(0, 2, 3, 1) if inputs.ndim == _IMAGE_AXES else mixed
    return back.reshape(inputs.shape)
