"""A training run on disk after each epoch, so that a killed run goes on as if nothing had been.

`checkpoints/epoch-0003/` holds `weights.safetensors`, `optimizer.safetensors` and `state.json`
(what the run was started with, the history so far, and the hashes of both files). It appears
whole or not at all. No random state is kept: every epoch seeds its own generators.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgetl.errors import CheckpointError, DataError
from edgetl.extras import extra
from edgetl.files import atomic_folder, parse_json, sha256_bytes, write_json
from edgetl.reference.tensors import parse_tensors

SCHEMA = "edgetl.training/1"
_FILES = ("weights.safetensors", "optimizer.safetensors")


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One line of the history.

    Attributes:
        epoch: From 1, over all phases.
        phase: ``"head"`` or ``"all"``.
        loss: Mean training loss in nats, with label smoothing.
        learning_rate: Of the epoch's last step.
        top1, nll, ece, entropy: On val, as `edgetl.train.evaluate.ValMetrics`.
    """

    epoch: int
    phase: str
    loss: float
    learning_rate: float
    top1: float
    nll: float
    ece: float
    entropy: float


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """What `load_state` found: weights and optimiser tensors after `records[-1].epoch`."""

    records: tuple[EpochRecord, ...]
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def best_record(records: Sequence[EpochRecord]) -> EpochRecord:
    """The epoch with the lowest validation NLL, the first of equals."""
    return min(records, key=lambda record: record.nll)


def save_state(
    folder: Path,
    digest: str,
    records: Sequence[EpochRecord],
    weights: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write the state after an epoch, then remove what is neither the latest nor the best.

    Args:
        folder: The run's ``checkpoints`` folder.
        digest: Of everything that the run was started with.
        records: The history, this epoch last.
        weights: The network's tensors.
        optimizer: Whose tensors are kept.
    """
    with extra("train"):
        from safetensors.torch import save
    contents = (
        save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}),
        save(_optimizer_tensors(optimizer)),
    )
    with atomic_folder(_epoch_folder(folder, records[-1].epoch)) as target:
        for name, data in zip(_FILES, contents, strict=True):
            (target / name).write_bytes(data)
        state = {
            "schema": SCHEMA,
            "digest": digest,
            "records": [asdict(record) for record in records],
            "sha256": {
                name: sha256_bytes(data) for name, data in zip(_FILES, contents, strict=True)
            },
        }
        write_json(target / "state.json", state)
    keep = {_epoch_folder(folder, record.epoch) for record in (records[-1], best_record(records))}
    for old in set(folder.glob("epoch-*")) - keep:
        shutil.rmtree(old)


def load_state(folder: Path, digest: str) -> TrainingState | None:
    """The latest state of this very run; None when there is none.

    States of a run that was started with anything else, and what a kill left half-written, are
    removed.

    Raises:
        CheckpointError: When the latest state is damaged.
    """
    for leftover in folder.glob(".epoch-*"):
        shutil.rmtree(leftover)
    found = sorted(folder.glob("epoch-*"))
    if not found:
        return None
    path = found[-1] / "state.json"
    try:
        state = parse_json(path.read_bytes(), str(path))
        records = tuple(EpochRecord(**record) for record in state["records"])
        same = state["schema"] == SCHEMA and state["digest"] == digest
    except (OSError, DataError, KeyError, TypeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if not same:
        for old in found:
            shutil.rmtree(old)
        return None
    weights, optimizer = (_read(found[-1] / name, state) for name in _FILES)
    return TrainingState(records=records, weights=weights, optimizer=optimizer)


def best_weights(folder: Path, records: Sequence[EpochRecord]) -> dict[str, Tensor]:
    """The network's tensors after the best epoch."""
    home = _epoch_folder(folder, best_record(records).epoch)
    path = home / "state.json"
    try:
        state = parse_json(path.read_bytes(), str(path))
    except (OSError, DataError) as error:
        raise _damaged(path, str(error)) from error
    return _read(home / _FILES[0], state)


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimiser the tensors that `save_state` kept, in its parameters' memory layout."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        parameter = parameters[int(index)]
        # A file knows no memory layout, and moments beside their parameter's layout are slow.
        value = (
            torch.empty_like(parameter).copy_(tensor)
            if tensor.shape == parameter.shape
            else tensor.clone()
        )
        optimizer.state[parameter][key] = value.detach()


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": value.detach().cpu().contiguous()
        for index, values in state.items()
        for key, value in values.items()
    }


def _read(path: Path, state: dict[str, Any]) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
        wanted = state["sha256"][path.name]
    except (OSError, KeyError, TypeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if sha256_bytes(data) != wanted:
        raise _damaged(path, f"{len(data)} bytes of another SHA-256")
    return parse_tensors(data, str(path))


def _epoch_folder(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:04d}"


def _damaged(path: Path, got: str) -> CheckpointError:
    return CheckpointError(
        str(path),
        got=got,
        expected="what the run wrote after that epoch",
        fix=f"remove the folder {path.parent.parent} to train from the start",
    )
