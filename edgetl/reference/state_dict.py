"""A state dict from a file that another tool wrote; a file that could run code is refused."""

from __future__ import annotations

import logging
import pickle
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgetl.errors import CheckpointError
from edgetl.reference.tensors import read_tensors

_NAMED = 8
_LOG = logging.getLogger(__name__)


def read_state_dict(
    path: Path,
    *,
    entry: str | None = None,
    prefix: str = "",
    wanted: Collection[str] = (),
) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a state dict that `torch.save` wrote.

    A .pt file is opened with ``weights_only=True`` alone: torch then makes tensors and plain
    containers and refuses everything else before it is built.

    Args:
        path: The file.
        entry: The key of the file's dict that holds the state dict; dots lead into dicts in it.
        prefix: Taken off the keys that begin with it. The others are left out, and a logged
            warning names them.
        wanted: The names in the network: a tensor of one of them is never left out.

    Raises:
        CheckpointError: When the file is not there, is truncated or empty, holds more than
            tensors, has its tensors in entries of which none was named, holds sparse, quantized or
            meta tensors, none of its keys begins with the prefix, or one of the network's does
            not.
    """
    if path.suffix == ".safetensors":
        if entry is not None:
            raise CheckpointError(
                str(path),
                got=f"weights_entry = {entry!r} for a safetensors file",
                expected="no entry: such a file holds tensors only",
                fix="remove weights_entry",
            )
        tensors = read_tensors(path)
    else:
        tensors = _tensors_in(_opened(path), path, entry)
    return _without(prefix, tensors, path, wanted)


def shared_prefixes(names: list[str]) -> list[str]:
    """What more than half of the names begin with, at their dots, the shortest first.

    Half: an averaged model has a count of its own beside the network.

    Example:
        >>> shared_prefixes(["n_averaged", "module.net.fc.weight", "module.net.x", "module.net.y"])
        ['module.', 'module.net.']
    """
    counts = Counter(
        name[: place + 1] for name in names for place, sign in enumerate(name) if sign == "."
    )
    return sorted((one for one, count in counts.items() if 2 * count > len(names)), key=len)


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(
            str(path),
            got="not a regular file" if path.exists() else "no such file",
            expected="a .safetensors, .pt or .pth file",
            fix="pass the path of the weights",
        )
    if path.stat().st_size == 0:
        raise _unreadable(path, "an empty file")
    try:
        with warnings.catch_warnings():
            # Of old formats and of TorchScript; what they mean here is said by the error.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _more_than_tensors(path, str(error)) from error
    except Exception as error:
        # torch raises errors of many kinds for a damaged file.
        words = (str(error).strip() or "no message").split("\n")[0][:200]
        if "TorchScript" in words:
            raise _more_than_tensors(path, "a TorchScript archive, which is code") from error
        raise _unreadable(path, f"{type(error).__name__}: {words}") from error


def _more_than_tensors(path: Path, words: str) -> CheckpointError:
    """Such as a whole module, whose pickle names its class."""
    told = " ".join(words.split())
    _, _, named = told.partition("GLOBAL ")
    if named:
        told = f"{named.split(' ')[0]}, which is not a tensor (a whole module or other objects)"
    return CheckpointError(
        str(path),
        got=told[:300],
        expected="a state dict: tensors and nothing else; files that can run code are not opened",
        fix="where you trust the file, save the tensors alone: "
        "safetensors.torch.save_file(network.state_dict(), path)",
    )


def _unreadable(path: Path, got: str) -> CheckpointError:
    return CheckpointError(
        str(path),
        got=got,
        expected="a whole state dict as torch.save(network.state_dict(), path) writes it",
        fix="copy or download the file again",
    )


def _tensors_in(value: Any, path: Path, entry: str | None, at: str = "") -> dict[str, Tensor]:
    if not isinstance(value, Mapping):
        raise _unreadable(path, f"a {type(value).__name__}, not a dict")
    if entry is not None:
        return _tensors_in(_entry(value, entry, path), path, None, f"{entry}.")
    strangers = [str(key) for key, part in value.items() if not isinstance(part, Tensor)]
    held = _states(value, at) if strangers else []
    if held:
        raise CheckpointError(
            str(path),
            got=f"a dict with the entries {_keys(value)}",
            expected=f"to be told which holds the state dict: {' or '.join(held[:_NAMED])}",
            fix=f'write weights_entry = "{held[0]}"',
        )
    if strangers:
        name = strangers[0]
        kind = next(type(part).__name__ for key, part in value.items() if str(key) == name)
        raise _unreadable(path, f"'{name}', a {kind} among the tensors")
    if not value:
        raise _unreadable(path, "a dict without tensors")
    for name, tensor in value.items():
        _check_dense(str(name), tensor, path)
    return {str(name): tensor for name, tensor in value.items()}


def _entry(value: Mapping[Any, Any], entry: str, path: Path) -> Any:
    """What a dotted path leads to; a key that itself has the dots comes first."""
    if entry in value:
        return value[entry]
    parts = entry.split(".")
    for count in range(len(parts) - 1, 0, -1):
        inner = value.get(".".join(parts[:count]))
        if isinstance(inner, Mapping):
            return _entry(inner, ".".join(parts[count:]), path)
    raise CheckpointError(
        str(path),
        got=f"no entry {entry!r}",
        expected=f"one of {_keys(value)}",
        fix="correct weights_entry; dots lead inwards, as in model.state_dict",
    )


def _states(value: Mapping[Any, Any], at: str) -> list[str]:
    """The dotted paths of the state dicts that lie least deep, in the file's order."""
    level, seen = [(at, value)], {id(value)}
    while level:
        inner = [
            (f"{before}{key}", part)
            for before, outer in level
            for key, part in outer.items()
            if isinstance(part, Mapping)
        ]
        if found := [name for name, part in inner if _is_state(part)]:
            return found
        level = []
        for name, part in inner:
            # A file may hold a dict that holds itself.
            if id(part) not in seen:
                seen.add(id(part))
                level.append((f"{name}.", part))
    return []


def _check_dense(name: str, tensor: Tensor, path: Path) -> None:
    if tensor.is_meta:
        got, fix = "without numbers (on the meta device)", "save the network after its weights are"
        fix += " loaded"
    elif tensor.layout is not torch.strided or tensor.is_nested:
        got, fix = f"of layout {tensor.layout}", "save tensor.to_dense() in its place"
    elif tensor.is_quantized:
        got, fix = "that is quantized", "save the float32 network: edgetl quantizes it itself"
    else:
        return
    raise CheckpointError(
        str(path), got=f"'{name}', a tensor {got}", expected="dense float tensors", fix=fix
    )


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(part, Tensor) for part in value.values())
    )


def _keys(value: Mapping[Any, Any]) -> str:
    names = [repr(key) for key in value]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _without(
    prefix: str, tensors: dict[str, Tensor], path: Path, wanted: Collection[str]
) -> dict[str, Tensor]:
    if not prefix:
        return tensors
    stripped = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    if not stripped:
        raise CheckpointError(
            str(path),
            got=f"keys such as {_keys(tensors)}",
            expected=f"keys that begin with {prefix!r}",
            fix="correct weights_prefix, or remove it",
        )
    others = [name for name in tensors if not name.startswith(prefix)]
    for name in others:
        if _ends_with_one_of(name, wanted):
            raise CheckpointError(
                str(path),
                got=f"'{name}', which is the network's too, outside {prefix!r}",
                expected=f"every tensor of the network to begin with {prefix!r}",
                fix="save the network's own state dict alone",
            )
    if others:
        named = ", ".join(others[:_NAMED]) + (", …" if len(others) > _NAMED else "")
        _LOG.warning("%s: %d outside %r left out: %s", path, len(others), prefix, named)
    return stripped


def _ends_with_one_of(name: str, wanted: Collection[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[start:]) in wanted for start in range(len(parts)))
