"""What history.json says of a run: the same after an undisturbed run and a resumed one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.train.backbones import WeightsReport
from edgetl.train.class_weights import class_weights, describe_class_weights
from edgetl.train.config import FinetuneConfig
from edgetl.train.depth import Depth
from edgetl.train.recipes import phases
from edgetl.train.session import described_config
from edgetl.train.starting_head import HeadStart
from edgetl.train.state import EpochRecord, best_record
from edgetl.train.terms.base import TermMaker

SCHEMA = "edgetl.history/1"


def history_of(
    config: FinetuneConfig,
    records: Sequence[EpochRecord],
    *,
    device: str,
    processes: int,
    weights: WeightsReport,
    images: dict[str, int],
    counts: NDArray[np.int64],
    classes: Sequence[str],
    depth: Depth | None,
    start: HeadStart | None,
    terms: Sequence[TermMaker],
    per_class: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The document.

    Args:
        config: What was asked for.
        records: One an epoch.
        device, processes: What was used.
        weights: What the network started from.
        images: How many each split, and each source, has.
        counts: Training images of each class.
        classes: The labels.
        depth: Of the network, where it was looked at.
        start: What the head started from, where that was made.
        terms: What was added to the loss.
        per_class: What the kept epoch makes of each class's val images.
    """
    weighed = class_weights(counts, config.class_weights)
    return {
        "schema": SCHEMA,
        "config": described_config(config),
        "device": device,
        "processes": processes,
        "weights": asdict(weights),
        "images": images,
        "class_balance": describe_class_weights(counts, config.class_weights, classes),
        **(
            {}
            if weighed is None
            else {"class_weights": dict(zip(classes, weighed.tolist(), strict=True))}
        ),
        "recipe": _recipe(config, depth, start, terms),
        "best_epoch": best_record(records).epoch,
        "kept": kept_sentence(config, records),
        "per_class": list(per_class),
        "epochs": [record.to_json() for record in records],
    }


def kept_sentence(config: FinetuneConfig, records: Sequence[EpochRecord]) -> str:
    """Which epoch was kept, and why, for a person.

    Example:
        >>> config = FinetuneConfig(architecture="mlp", weights="none", recipe="full", epochs=2)
        >>> record = EpochRecord(epoch=1, phase="all", loss=1.0, learning_rate=0.1, top1=0.5,
        ...                      nll=0.7, ece=0.1, entropy=0.3)
        >>> kept_sentence(config, [record])
        'Epoch 1 of 1 was kept: its NLL on val, 0.7000, is the lowest. At most 2 were planned.'
    """
    best, last = best_record(records), records[-1]
    told = (
        f"Epoch {best.epoch} of {last.epoch} was kept: its NLL on val, {best.nll:.4f}, is the "
        "lowest"
    )
    if best.epoch != last.epoch:
        told += f"; the last epoch's is {last.nll:.4f}"
    if config.ema is not None:
        told += "; its weights are the moving average"
    planned = sum(phase.epochs for phase in phases(config))
    if last.epoch == planned:
        return f"{told}."
    why = ""
    if config.patience is not None:
        epochs = "an epoch" if config.patience == 1 else f"{config.patience} epochs"
        why = f": a phase ends after {epochs} without a lower one"
    return f"{told}. At most {planned} were planned{why}."


def _recipe(
    config: FinetuneConfig,
    depth: Depth | None,
    start: HeadStart | None,
    terms: Sequence[TermMaker],
) -> dict[str, Any]:
    """What trained when, at which rates, and what else was in the loss."""
    facts: dict[str, Any] = {"name": config.recipe, "phases": [asdict(p) for p in phases(config)]}
    if depth is not None:
        scale = config.layer_decay
        last = len(depth.blocks) - 1
        facts["blocks"] = [
            {"name": name, "rate": scale ** (last - position)}
            for position, (name, _) in enumerate(depth.blocks)
        ]
    if start is not None and start.sentence is not None:
        facts["head_start"] = start.sentence
        facts["head_weight_decay"] = start.weight_decay
    if start is not None and start.chosen is not None:
        facts["weight_decays"] = [asdict(row) for row in start.chosen.table]
    if terms:
        facts["terms"] = [dict(term.digest) for term in terms]
    return facts
