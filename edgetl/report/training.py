"""The training curves, and what calibration did to the probabilities."""

from __future__ import annotations

from collections.abc import Mapping

from edgetl.report.blocks import Block, Cell, Facts, Grid, Note, Plots, Section
from edgetl.report.documents import Table
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import clean, number
from edgetl.report.training_curves import curves_of

_SENTENCE = 300
_SETTINGS = (
    "architecture",
    "weights",
    "recipe",
    "head_kind",
    "optimizer",
    "schedule",
    "learning_rate",
    "head_learning_rate",
    "layer_decay",
    "weight_decay",
    "batch_size",
    "accumulate",
    "loss",
    "label_smoothing",
    "class_weights",
    "sampler",
    "augment",
    "mixup",
    "cutmix",
    "ema",
    "precision",
    "patience",
    "seed",
)


def section(facts: ReleaseFacts) -> Section | None:
    """Curves over the epochs and the temperatures; None without either."""
    blocks: list[Block] = []
    epochs, best, images = _epochs(facts)
    history = facts.data.history
    if kept := _kept(history):
        blocks.append(Note(text=kept))
    if epochs:
        scope = "; ".join(f"{clean(split)} split, n = {n:,}" for split, n in images.items())
        blocks.append(Plots(plots=curves_of(epochs, best, scope)))
    if recipe := _recipe(history):
        blocks.append(recipe)
    temperatures = _temperatures(facts)
    if temperatures:
        blocks.append(temperatures)
    if not blocks:
        return None
    return Section(
        id="training",
        title="Training and temperature",
        read=(
            "The vertical line marks the epoch that was kept, the one with the lowest NLL on val; "
            "a temperature above 1 means that the network was surer than it should be."
        ),
        blocks=tuple(blocks),
    )


def _epochs(facts: ReleaseFacts) -> tuple[list[Table], int | None, Mapping[str, int]]:
    history = facts.data.history
    if history is None:
        return [], None, {}
    if isinstance(history, Mapping):
        return list(history.get("epochs", ())), history.get("best_epoch"), history.get("images", {})
    return list(history), None, {}


def _kept(history: object) -> str:
    """Which epoch was kept and why, when the history says so."""
    kept = history.get("kept") if isinstance(history, Mapping) else None
    return clean(kept, _SENTENCE) if isinstance(kept, str) else ""


def _recipe(history: object) -> Facts | None:
    """What the run was asked for, of the settings that were not left at "none"."""
    config = history.get("config") if isinstance(history, Mapping) else None
    if not isinstance(config, Mapping):
        return None
    found = {name: config.get(name) for name in _SETTINGS}
    if isinstance(history, Mapping):
        found["device"] = history.get("device")
    pairs = [
        (name.replace("_", " "), clean(value))
        for name, value in found.items()
        if isinstance(value, str | int | float) and value not in ("", "none", 0.0)
    ]
    return Facts(pairs=tuple(pairs), title="Recipe") if pairs else None


def _temperatures(facts: ReleaseFacts) -> Grid | None:
    """The reference's temperature and each variant's own correction of it."""
    rows = []
    calibration = facts.data.calibration
    if calibration and "temperature" in calibration:
        rows.append(_row("reference", calibration, "calib", "nll", "ece"))
    for name, found in (facts.data.refit or {}).items():
        if isinstance(found, Mapping) and "temperature" in found:
            rows.append(_row(str(name), found, "val", "val_nll", "val_ece"))
    if not rows:
        return None
    return Grid(
        head=(
            "side",
            "temperature",
            "fitted on",
            "seen on",
            "NLL before",
            "after",
            "ECE before",
            "after",
        ),
        rows=tuple(rows),
        numeric=frozenset({1, 4, 5, 6, 7}),
        title="Temperatures",
        caption="A variant's temperature multiplies the reference's.",
    )


def _row(name: str, found: Table, seen: str, nll: str, ece: str) -> tuple[Cell, ...]:
    pairs = [found.get(key) or {} for key in (nll, ece)]
    return (
        Cell(text=clean(name)),
        Cell(text=number(found["temperature"], 4)),
        Cell(text=f"calib, n = {found.get('n', '–')}"),
        Cell(text=seen),
        *(Cell(text=number(pair.get(when), 4)) for pair in pairs for when in ("before", "after")),
    )
