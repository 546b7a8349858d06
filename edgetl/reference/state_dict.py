"""A state dict from a file that another tool wrote; a file that could run code is refused."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgetl.errors import CheckpointError
from edgetl.reference.tensors import read_tensors

_NAMED = 8


def read_state_dict(path: Path, *, entry: str | None = None, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a state dict that `torch.save` wrote.

    A .pt file is opened with ``weights_only=True`` alone: torch then makes tensors and plain
    containers and refuses everything else before it is built.

    Args:
        path: The file.
        entry: The key of the file's dict that holds the state dict.
        prefix: Taken off the keys that begin with it.

    Raises:
        CheckpointError: When the file is not there, is truncated or empty, holds more than
            tensors, has its tensors in entries of which none was named, or none of its keys
            begins with the prefix.
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
    return _without(prefix, tensors, path)


def shared_prefixes(names: list[str]) -> list[str]:
    """What all names begin with, at their dots, the shortest first.

    Example:
        >>> shared_prefixes(["module.net.fc.weight", "module.net.fc.bias", "module.net.x"])
        ['module.', 'module.net.']
    """
    if not names:
        return []
    parts = names[0].split(".")[:-1]
    prefixes = [".".join(parts[:count]) + "." for count in range(1, len(parts) + 1)]
    return [prefix for prefix in prefixes if all(name.startswith(prefix) for name in names)]


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


def _tensors_in(value: Any, path: Path, entry: str | None) -> dict[str, Tensor]:
    if not isinstance(value, Mapping):
        raise _unreadable(path, f"a {type(value).__name__}, not a dict")
    if entry is not None:
        if entry not in value:
            raise CheckpointError(
                str(path),
                got=f"no entry {entry!r}",
                expected=f"one of {_keys(value)}",
                fix="correct weights_entry",
            )
        return _tensors_in(value[entry], path, None)
    held = [str(key) for key, part in value.items() if _is_state(part)]
    strangers = [str(key) for key, part in value.items() if not isinstance(part, Tensor)]
    if strangers and held:
        raise CheckpointError(
            str(path),
            got=f"a dict with the entries {_keys(value)}",
            expected=f"to be told which holds the state dict: {' or '.join(held[:_NAMED])}",
            fix=f'write weights_entry = "{held[0]}"',
        )
    if strangers:
        name = strangers[0]
        raise _unreadable(path, f"'{name}', a {type(value[name]).__name__} among the tensors")
    if not value:
        raise _unreadable(path, "a dict without tensors")
    return {str(name): tensor for name, tensor in value.items()}


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


def _without(prefix: str, tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    if not prefix:
        return tensors
    if not any(name.startswith(prefix) for name in tensors):
        raise CheckpointError(
            str(path),
            got=f"keys such as {_keys(tensors)}",
            expected=f"keys that begin with {prefix!r}",
            fix="correct weights_prefix, or remove it",
        )
    stripped = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if len(stripped) != len(tensors):
        raise CheckpointError(
            str(path),
            got=f"a key both with and without {prefix!r}",
            expected="distinct keys after weights_prefix is taken off",
            fix="save the network's own state dict alone",
        )
    return stripped
