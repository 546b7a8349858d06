"""Changes of training images that leave the class what it is."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgetl.extras import extra
from edgetl.train.config import Augment
from edgetl.train.torch_random import drawing_from

_SHIFT_PART = 12


def augment_images(images: Tensor, augment: Augment, generator: np.random.Generator) -> Tensor:
    """A changed copy of a batch; each image is changed by itself.

    ``"light"`` shifts each image by up to a twelfth of each side, repeating its edge pixels;
    ``"light-flip"`` also mirrors each with probability one half. The others are torchvision's,
    with its defaults: ``"trivial"`` applies one random operation of random strength
    (TrivialAugmentWide, Müller and Hutter 2021, arXiv:2103.10158), ``"rand"`` two of strength 9
    of 30 (RandAugment, Cubuk et al. 2019, arXiv:1909.13719), and ``"crop-flip"`` takes a random
    part of 8 to 100 % of the area (RandomResizedCrop, Szegedy et al. 2014, arXiv:1409.4842) and
    mirrors half of them.

    Args:
        images: uint8 [n, height, width, 3].
        augment: One of those, or ``"none"``.
        generator: Where the randomness comes from; the same state gives the same batch.

    Returns:
        uint8 [n, height, width, 3]; the batch itself for ``"none"``.

    Raises:
        MissingExtraError: When torchvision is not installed and one of its own is asked for.

    Example:
        >>> x = torch.zeros(2, 24, 24, 3, dtype=torch.uint8)
        >>> augment_images(x, "light", np.random.default_rng(0)).shape
        torch.Size([2, 24, 24, 3])
        >>> augment_images(x, "trivial", np.random.default_rng(0)).shape
        torch.Size([2, 24, 24, 3])
    """
    if augment == "none":
        return images
    if augment not in ("light", "light-flip"):
        return _one_by_one(images, augment, generator)
    n, height, width, _ = images.shape
    rows = _shifted(n, height, generator)
    columns = _shifted(n, width, generator)
    if augment == "light-flip":
        flip = torch.from_numpy(generator.random(n) < 0.5)
        columns = torch.where(flip[:, None], columns.flip(1), columns)
    picture = torch.arange(n)[:, None, None]
    return images[picture, rows[:, :, None], columns[:, None, :]]


def _shifted(n: int, size: int, generator: np.random.Generator) -> Tensor:
    """Per image, which source line each line takes: int64 [n, size]."""
    reach = max(1, size // _SHIFT_PART)
    offset = torch.from_numpy(generator.integers(-reach, reach, size=n, endpoint=True))
    return (torch.arange(size)[None, :] + offset[:, None]).clamp(0, size - 1)


def _one_by_one(images: Tensor, augment: Augment, generator: np.random.Generator) -> Tensor:
    # One call for a batch would change all of its images alike.
    change = _transform(augment, *images.shape[1:3])
    # Planes first in memory, not as a view only: the geometric operations are then faster.
    pictures = images.permute(0, 3, 1, 2).contiguous()
    with drawing_from(generator):
        changed = torch.stack([change(picture) for picture in pictures])
    return changed.permute(0, 2, 3, 1).contiguous()


@cache
def _transform(augment: str, height: int, width: int) -> Any:
    with extra("train"):
        from torchvision.transforms import v2
    if augment == "trivial":
        return v2.TrivialAugmentWide()
    if augment == "rand":
        return v2.RandAugment()
    return v2.Compose(
        [v2.RandomResizedCrop((height, width), antialias=True), v2.RandomHorizontalFlip()]
    )
