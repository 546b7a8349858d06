"""Tensors from safetensors files, and from nothing else: no pickle is ever opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from edgetl.errors import CheckpointError
from edgetl.extras import extra

_NAMED = 5


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file, in memory of its own.

    Raises:
        CheckpointError: When the path is not a regular file, or the file is not safetensors:
            empty, truncated, a pickle, a whole module, TorchScript, a header that is too large.
    """
    if not path.is_file():
        raise CheckpointError(
            str(path),
            got="not a regular file" if path.exists() else "no such file",
            expected="a .safetensors file",
            fix="pass the path of the weights",
        )
    return parse_tensors(path.read_bytes(), str(path))


def parse_tensors(data: bytes, subject: str) -> dict[str, Tensor]:
    """The same from bytes that are already in memory.

    Example:
        >>> from safetensors.torch import save
        >>> parse_tensors(save({"a": torch.ones(2)}), "weights")
        {'a': tensor([1., 1.])}
    """
    with extra("train"):
        from safetensors import SafetensorError
        from safetensors.torch import load
    stranger = _stranger(data)
    if stranger is not None:
        raise CheckpointError(
            subject,
            got=stranger,
            expected="a safetensors file; files that can run code are never opened",
            fix="convert it where you trust it: safetensors.torch.save_file(state_dict, path)",
        )
    try:
        tensors: dict[str, Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            subject,
            got=str(error).removeprefix("Error while deserializing: ") + f" ({len(data)} bytes)",
            expected="a whole safetensors file",
            fix="copy or download the file again",
        ) from error
    return tensors


def state_of(network: nn.Module, subject: str) -> dict[str, Tensor]:
    """A network's state on the CPU, every tensor in memory of its own, as safetensors needs it.

    Raises:
        CheckpointError: When part of the state is no tensor.

    Example:
        >>> tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        >>> tied[1].weight = tied[0].weight
        >>> state = state_of(tied, "network")
        >>> state["0.weight"].data_ptr() == state["1.weight"].data_ptr()
        False
    """
    state: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, value in network.state_dict().items():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                subject,
                got=f"'{name}', a {type(value).__name__}",
                expected="a state of tensors alone",
                fix="keep such values as buffers, or compute them in the network's __init__",
            )
        own = value.detach().cpu().contiguous()
        place = own.untyped_storage().data_ptr()
        state[name] = own.clone() if place in places else own
        places.add(place)
    return state


def check_finite(tensors: Mapping[str, Tensor], subject: str) -> None:
    """Refuse weights that hold a NaN or an infinity.

    Raises:
        CheckpointError: Naming the first such tensor.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                subject,
                got=f"NaN or infinity in '{name}'",
                expected="finite weights",
                fix="go back to a checkpoint before the training diverged, or lower its rate",
            )


def check_fit(
    tensors: Mapping[str, Tensor], network: nn.Module, subject: str, *, head: str | None = None
) -> None:
    """Refuse weights whose names, shapes or dtypes are not the network's.

    Args:
        tensors: The weights.
        network: What they should fit.
        subject: What to call the weights in an error.
        head: The head's dotted name; its shape is spoken of as a number of classes.

    Raises:
        CheckpointError: Naming the missing and the extra keys, or the first tensor that differs.
    """
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in tensors]
    surplus = [name for name in tensors if name not in wanted]
    if missing or surplus:
        parts = [_list("missing", missing)] * bool(missing) + [_list("extra", surplus)] * bool(
            surplus
        )
        raise CheckpointError(
            subject,
            got="; ".join(parts),
            expected=f"exactly the {len(wanted)} tensors of the architecture",
            fix="name the architecture that the weights were trained with",
        )
    for name, want in wanted.items():
        _check_one(name, tensors[name], want, subject, head)


def _check_one(name: str, got: Tensor, want: Tensor, subject: str, head: str | None) -> None:
    if got.shape != want.shape:
        if head is not None and name in (f"{head}.weight", f"{head}.bias"):
            raise CheckpointError(
                subject,
                got=f"a head '{head}' of {got.shape[0]} classes",
                expected=f"{want.shape[0]} classes, as many as there are labels",
                fix="use the labels that the head was trained with, or train a new head",
            )
        raise CheckpointError(
            subject,
            got=f"'{name}' of shape {tuple(got.shape)}",
            expected=f"shape {tuple(want.shape)}",
            fix="name the architecture and the input that the weights were trained with",
        )
    if got.dtype != want.dtype:
        raise CheckpointError(
            subject,
            got=f"'{name}' of dtype {got.dtype}",
            expected=str(want.dtype),
            fix="convert the weights to float32 before saving them",
        )


def _list(kind: str, names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} {kind}: {shown}{more}"


def _stranger(data: bytes) -> str | None:
    """What a file that is not safetensors is, by its first bytes; None when it may be."""
    if not data:
        return "an empty file"
    if data[8:9] == b"{":
        return None
    if data.startswith(b"PK\x03\x04"):
        return "a zip archive (torch.save or TorchScript)"
    if data.startswith(b"\x80"):
        return "a pickle"
    return None
