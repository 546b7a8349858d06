"""A training run on disk after each epoch, so that a killed run goes on as if nothing had been.

`checkpoints/epoch-0003/` holds `weights.safetensors`, `optimizer.safetensors`, where there are such
tensors `average.safetensors` (of the weights) and `terms.safetensors` (the terms' own parameters),
and `state.json` (what the run was started with, the history so far, and the hashes of the files).
It appears whole or not at all. No random state is kept: every epoch seeds its own generators.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgetl.errors import CheckpointError, DataError
from edgetl.extras import extra
from edgetl.files import atomic_folder, parse_json, sha256_bytes, write_json
from edgetl.reference.tensors import parse_tensors
from edgetl.train.average import averaged_weights

SCHEMA = "edgetl.training/1"
WEIGHTS = "weights"
OPTIMIZER = "optimizer"
AVERAGE = "average"
TERMS = "terms"


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One line of the history.

    Attributes:
        epoch: From 1, over all phases.
        phase: ``"head"``, ``"all"`` or ``"lora"``.
        loss: Mean training loss in nats: of the labels, smoothed or weighted as the config says,
            and of the terms.
        learning_rate: Of the epoch's last step; 0 of a head that was solved.
        top1, nll, ece, entropy: On val, as `edgetl.train.evaluate.ValMetrics`.
        terms: The mean of each term, weighted as in the loss; empty without terms.
    """

    epoch: int
    phase: str
    loss: float
    learning_rate: float
    top1: float
    nll: float
    ece: float
    entropy: float
    terms: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The record as plain data, without `terms` where there are none."""
        values = asdict(self)
        if not self.terms:
            del values["terms"]
        return values


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """What `load_state` found: everything after `records[-1].epoch`.

    Attributes:
        records: The history.
        weights: The network's tensors.
        optimizer: The optimiser's.
        average: `edgetl.train.average.Average.state`; empty without an average.
        terms: The terms' own tensors; empty where they have none.
        scaler: The state of the loss's scale in fp16; empty otherwise.
    """

    records: tuple[EpochRecord, ...]
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    average: dict[str, Tensor] = field(default_factory=dict)
    terms: dict[str, Tensor] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)


def best_record(records: Sequence[EpochRecord]) -> EpochRecord:
    """The epoch with the lowest validation NLL, the first of equals."""
    return min(records, key=lambda record: record.nll)


def save_state(
    folder: Path,
    digest: str,
    records: Sequence[EpochRecord],
    weights: dict[str, Tensor],
    optimizer: torch.optim.Optimizer | None,
    *,
    average: Mapping[str, Tensor] | None = None,
    terms: Mapping[str, Tensor] | None = None,
    scaler: Mapping[str, Any] | None = None,
) -> None:
    """Write the state after an epoch, then remove what is neither the latest nor the best.

    Args:
        folder: The run's ``checkpoints`` folder.
        digest: Of everything that the run was started with.
        records: The history, this epoch last.
        weights: The network's tensors.
        optimizer: Whose tensors are kept; None where there was none.
        average, terms, scaler: As in `TrainingState`.
    """
    with extra("train"):
        from safetensors.torch import save
    tensors: dict[str, Mapping[str, Tensor]] = {
        WEIGHTS: weights,
        OPTIMIZER: {} if optimizer is None else _optimizer_tensors(optimizer),
        **({AVERAGE: average} if average else {}),
        **({TERMS: terms} if terms else {}),
    }
    contents = {
        f"{name}.safetensors": save(
            {key: value.detach().cpu().contiguous() for key, value in values.items()}
        )
        for name, values in tensors.items()
    }
    with atomic_folder(_epoch_folder(folder, records[-1].epoch)) as target:
        for name, data in contents.items():
            (target / name).write_bytes(data)
        state = {
            "schema": SCHEMA,
            "digest": digest,
            "records": [record.to_json() for record in records],
            "sha256": {name: sha256_bytes(data) for name, data in contents.items()},
            **({"scaler": dict(scaler)} if scaler else {}),
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
    return TrainingState(
        records=records,
        weights=_read(found[-1], WEIGHTS, state),
        optimizer=_read(found[-1], OPTIMIZER, state),
        average=_read(found[-1], AVERAGE, state) if _has(AVERAGE, state) else {},
        terms=_read(found[-1], TERMS, state) if _has(TERMS, state) else {},
        scaler=state.get("scaler", {}),
    )


def best_weights(folder: Path, records: Sequence[EpochRecord]) -> dict[str, Tensor]:
    """The network's tensors after the best epoch: their average, where one was kept."""
    home = _epoch_folder(folder, best_record(records).epoch)
    path = home / "state.json"
    try:
        state = parse_json(path.read_bytes(), str(path))
    except (OSError, DataError) as error:
        raise _damaged(path, str(error)) from error
    if _has(AVERAGE, state):
        return averaged_weights(_read(home, AVERAGE, state))
    return _read(home, WEIGHTS, state)


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


def _has(name: str, state: dict[str, Any]) -> bool:
    return f"{name}.safetensors" in state.get("sha256", {})


def _read(home: Path, name: str, state: dict[str, Any]) -> dict[str, Tensor]:
    path = home / f"{name}.safetensors"
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
