"""Weights to start from: torchvision's ImageNet weights, a safetensors file, or none."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from edgetl.errors import CheckpointError, ConfigError
from edgetl.extras import extra
from edgetl.files import sha256_bytes
from edgetl.reference.network import head_layer
from edgetl.reference.tensors import check_finite, check_fit, parse_tensors

_POSITIONS = "encoder.pos_embedding"


@dataclass(frozen=True, kw_only=True)
class WeightsReport:
    """What a network starts from.

    Attributes:
        source: Where the weights came from.
        sha256: Of the local file; None for the other sources.
        loaded: How many of the network's tensors were taken over.
        fresh: The names of those that keep their random start: the head, when its number of
            classes is another, or everything for ``"none"``.
    """

    source: Literal["none", "imagenet", "file"]
    sha256: str | None
    loaded: int
    fresh: tuple[str, ...]


def load_weights(network: nn.Module, weights: str, architecture: str) -> WeightsReport:
    """Put starting weights into a network, in place. Nothing is loaded unless everything fits.

    The body must fit tensor by tensor. The head is taken over when its shape agrees and keeps
    its random start otherwise. The position table of a ViT is interpolated to the input's size.

    Args:
        network: Of `architecture`.
        weights: ``"none"``; ``"imagenet"``, which downloads torchvision's default weights once,
            into torch's own cache, and checks their hash; or the path of a ``.safetensors`` file.
        architecture: A name of `edgetl.reference.architectures.ARCHITECTURES`.

    Returns:
        What was loaded, and what was not.

    Raises:
        CheckpointError: When the weights cannot be read or downloaded, do not fit, or hold NaN.
        ConfigError: When there are no ImageNet weights for the architecture.

    Example:
        >>> from edgetl.reference.network import Mlp
        >>> load_weights(Mlp(features=4, classes=2), "none", "mlp").loaded
        0
    """
    if weights == "none":
        return WeightsReport(
            source="none", sha256=None, loaded=0, fresh=tuple(network.state_dict())
        )
    if weights == "imagenet":
        tensors, digest = _imagenet(architecture), None
    else:
        tensors, digest = _from_file(Path(weights))
    fresh = _take(network, tensors, weights, architecture)
    return WeightsReport(
        source="imagenet" if weights == "imagenet" else "file",
        sha256=digest,
        loaded=len(network.state_dict()) - len(fresh),
        fresh=fresh,
    )


def _take(
    network: nn.Module, tensors: Mapping[str, Tensor], weights: str, architecture: str
) -> tuple[str, ...]:
    head = head_layer(network, architecture)
    state = network.state_dict()
    merged = _fit_positions(dict(tensors), state)
    names = (f"{head}.weight", f"{head}.bias")
    known = all(name in merged and merged[name].shape == state[name].shape for name in names)
    fresh = () if known else names
    for name in fresh:
        merged[name] = state[name]
    subject = f"weights {weights}"
    check_fit(merged, network, subject)
    check_finite(merged, subject)
    network.load_state_dict(merged)
    return fresh


def _from_file(path: Path) -> tuple[dict[str, Tensor], str]:
    if not path.is_file():
        raise CheckpointError(
            f"weights {path}",
            got="not a regular file" if path.exists() else "no such file",
            expected="'imagenet', 'none' or the path of a .safetensors file",
            fix="mend `weights`",
        )
    data = path.read_bytes()
    return parse_tensors(data, f"weights {path}"), sha256_bytes(data)


def _imagenet(architecture: str) -> dict[str, Tensor]:
    if architecture == "mlp":
        raise ConfigError(
            "weights",
            got="'imagenet' for the architecture 'mlp'",
            expected="'none' or a .safetensors file",
            fix="train the mlp from scratch, or choose an image network",
        )
    with extra("train"):
        from torchvision.models import get_model_weights
    chosen = get_model_weights(architecture).DEFAULT
    try:
        # weights_only: the downloaded file is a pickle, and only tensors are taken from it.
        state = chosen.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"ImageNet weights {chosen}",
            got=f"{type(error).__name__}: {error}",
            expected=f"a download of {chosen.url}",
            fix="check the network, or put the file into the folder "
            f"{Path(torch.hub.get_dir()) / 'checkpoints'}",
        ) from error
    return dict(cast("Mapping[str, Tensor]", state))


def _fit_positions(tensors: dict[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A ViT's position table (class token, then a square of patches), resized when it differs."""
    got, want = tensors.get(_POSITIONS), state.get(_POSITIONS)
    if got is None or want is None or got.shape == want.shape or got.ndim != 3:
        return tensors
    old, new = (round((table.shape[1] - 1) ** 0.5) for table in (got, want))
    if old * old + 1 != got.shape[1] or got.shape[2] != want.shape[2]:
        return tensors
    with extra("train"):
        from torchvision.models.vision_transformer import interpolate_embeddings
    patch = state["conv_proj.weight"].shape[-1]
    return dict(interpolate_embeddings(new * patch, patch, OrderedDict(tensors)))
