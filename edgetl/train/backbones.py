"""Weights to start from: published ones, a safetensors file, the network's own, or none."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from edgetl.errors import CheckpointError, ConfigError
from edgetl.extras import extra
from edgetl.files import sha256_bytes
from edgetl.reference.architectures import TIMM, HeadKind, is_mlp, known_head
from edgetl.reference.ending import OUTPUT
from edgetl.reference.factories import timm_pretrained
from edgetl.reference.head_kinds import block_name, known_block
from edgetl.reference.tensors import check_finite, check_fit, parse_tensors
from edgetl.reference.user_code import USER_CODE
from edgetl.spec import ClassifierInput, Head, ImageInput

_POSITIONS = "encoder.pos_embedding"


@dataclass(frozen=True, kw_only=True)
class WeightsReport:
    """What a network starts from.

    Attributes:
        source: Where the weights came from.
        sha256: Of the local file, or of the tensors that a factory or timm gave; None otherwise.
        loaded: How many of the network's tensors were taken over.
        fresh: The names of those that keep their random start: the head, when its number of
            classes is another, or everything for ``"none"``.
    """

    source: Literal["none", "imagenet", "pretrained", "factory", "file"]
    sha256: str | None
    loaded: int
    fresh: tuple[str, ...]


def load_weights(
    network: nn.Module,
    weights: str,
    architecture: str,
    *,
    head: Head,
    input: ClassifierInput,
    head_kind: HeadKind = "linear",
) -> WeightsReport:
    """Put starting weights into a network, in place. Nothing is loaded unless everything fits.

    The body must fit tensor by tensor. The head is taken over when its shape agrees and keeps
    its random start otherwise. The position table of a ViT is interpolated to the input's size.

    Args:
        network: Of `architecture`.
        weights: ``"none"``; ``"imagenet"``, which downloads torchvision's default weights once,
            into torch's own cache, and checks their hash; ``"pretrained"``, which lets timm
            download its own; ``"factory"``, what the network of a user's factory came with; or
            the path of a ``.safetensors`` file.
        architecture: As `edgetl.reference.network.build_network` takes it.
        head: The head layer's name, or ``"output"`` (then every tensor must fit), and the classes.
        input: What the classifier takes.
        head_kind: What the network was built with. A head of weights for another kind is left
            out, and the network's keeps its random start.

    Returns:
        What was loaded, and what was not.

    Raises:
        CheckpointError: When the weights cannot be read or downloaded, do not fit, or hold NaN.
        ConfigError: When there are no such weights for the architecture.

    Example:
        >>> from edgetl.reference.network import Mlp
        >>> from edgetl.spec import TensorInput
        >>> load_weights(Mlp(features=4, classes=2), "none", "mlp",
        ...              head=Head(layer="head", classes=("a", "b")),
        ...              input=TensorInput(shape=(4,))).loaded
        0
    """
    check_source(weights, architecture)
    state = network.state_dict()
    heads = _Heads.of(head, head_kind, architecture)
    if weights == "none":
        return WeightsReport(source="none", sha256=None, loaded=0, fresh=tuple(state))
    if weights == "factory":
        check_finite(state, f"the weights of {architecture}")
        fresh = () if head_kind == "linear" else heads.among(state)
        return _report("factory", _digest(state), state, fresh)
    if weights == "pretrained":
        tensors = _from_timm(architecture, input, len(head.classes), heads)
        fresh = _take(network, tensors, weights, heads)
        return _report("pretrained", _digest(tensors), state, fresh)
    if weights == "imagenet":
        fresh = _take(network, imagenet_state(architecture), weights, heads)
        return _report("imagenet", None, state, fresh)
    tensors, digest = _from_file(Path(weights))
    return _report("file", digest, state, _take(network, tensors, weights, heads))


def check_source(weights: str, architecture: str) -> None:
    """Refuse weights that the architecture does not have. Nothing is read or downloaded.

    Raises:
        ConfigError: Naming what it has.

    Example:
        >>> check_source("imagenet", "resnet18")
    """
    kind = architecture.partition(":")[0] + ":" if ":" in architecture else ""
    owner = {"imagenet": "", "pretrained": TIMM, "factory": USER_CODE}.get(weights)
    if owner is None or (kind == owner and not (is_mlp(architecture) and owner == "")):
        return
    named = {"": "'imagenet', ", TIMM: "'pretrained', ", USER_CODE: "'factory', "}.get(kind, "")
    raise ConfigError(
        "weights",
        got=f"'{weights}' for the architecture '{architecture}'",
        expected=("" if is_mlp(architecture) else named) + "'none' or a .safetensors file",
        fix="choose one of these, or another architecture",
    )


@dataclass(frozen=True, kw_only=True)
class _Heads:
    """Under which names a head's tensors are: the network's own, and those of other kinds."""

    own: str | None
    others: tuple[str, ...]

    @staticmethod
    def of(head: Head, kind: HeadKind, architecture: str) -> _Heads:
        own = None if head.layer == OUTPUT else block_name(head.layer, kind)
        known = (known_head(architecture), known_block(architecture))
        return _Heads(own=own, others=tuple(name for name in known if name is not None))

    def among(self, names: Iterable[str]) -> tuple[str, ...]:
        """The network's own head's."""
        return tuple(name for name in names if self.own is not None and _below(name, self.own))

    def any_among(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of a head of any kind."""
        places = (*self.others, *([] if self.own is None else [self.own]))
        return tuple(name for name in names if any(_below(name, place) for place in places))


def _below(name: str, layer: str) -> bool:
    return name.startswith(f"{layer}.") if layer else "." not in name


def _report(
    source: Literal["imagenet", "pretrained", "file", "factory"],
    digest: str | None,
    state: Mapping[str, Tensor],
    fresh: tuple[str, ...],
) -> WeightsReport:
    loaded = len(state) - len(fresh)
    return WeightsReport(source=source, sha256=digest, loaded=loaded, fresh=fresh)


def _digest(state: Mapping[str, Tensor]) -> str:
    with extra("train"):
        from safetensors.torch import save
    return sha256_bytes(save({name: value.detach().clone() for name, value in state.items()}))


def _take(
    network: nn.Module, tensors: Mapping[str, Tensor], weights: str, heads: _Heads
) -> tuple[str, ...]:
    state = network.state_dict()
    merged = _fit_positions(dict(tensors), state)
    names = heads.among(state)
    known = all(name in merged and merged[name].shape == state[name].shape for name in names)
    fresh = () if known else names
    if fresh:
        for name in heads.any_among(merged):
            del merged[name]
        merged.update((name, state[name]) for name in fresh)
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


def imagenet_state(architecture: str) -> dict[str, Tensor]:
    """torchvision's default weights, head included, downloaded once into torch's own cache.

    Raises:
        CheckpointError: When they are not there and cannot be downloaded.
    """
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


def _from_timm(
    architecture: str, input: ClassifierInput, classes: int, heads: _Heads
) -> dict[str, Tensor]:
    """timm's own weights, fitted by timm to the input's channels and size; a new head is not."""
    assert isinstance(input, ImageInput)
    donor, whole = timm_pretrained(architecture, classes, input)
    state: dict[str, Tensor] = dict(donor.state_dict())
    for name in () if whole else heads.among(tuple(state)):
        del state[name]
    return state


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
