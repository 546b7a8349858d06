"""What the reference makes of each class: how often it is found, how often it is said wrongly."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgetl.gate.predictions import Predictions
from edgetl.metrics.probability import per_image_nll
from edgetl.report.blocks import Cell, Grid, Section
from edgetl.report.content import REFERENCE
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import clean, finite, number, percent
from edgetl.stats import clopper_pearson

MAX_CLASSES = 30
"""Beyond so many classes those with the lowest recall are listed."""


def section(facts: ReleaseFacts) -> Section | None:
    """Recall, precision and NLL of each class; None without labelled answers of the reference."""
    reference = facts.answers().get(REFERENCE)
    if reference is None or reference.labels is None:
        return None
    names = reference.classes or tuple(str(k) for k in range(reference.k))
    weights = _weights(facts, names)
    losses = per_image_nll(reference.probabilities, reference.labels)
    rows = [_row(reference, at, name, weights, losses) for at, name in enumerate(names)]
    total, kept = len(rows), [row for _, row in rows]
    if total > MAX_CLASSES:
        kept = [row for _, row in sorted(rows, key=lambda pair: pair[0])[:MAX_CLASSES]]
    shown = f"The {MAX_CLASSES} of {total} classes with the lowest recall. " * (total > MAX_CLASSES)
    return Section(
        id="classes",
        title="Each class",
        read=(
            "How the reference does class by class: recall is the share of a class's inputs that "
            "it finds, precision the share of its answers of a class that are right."
        ),
        blocks=(
            Grid(
                head=("class", "inputs", *(("weight",) if weights else ()), *_FIGURES),
                rows=tuple(kept),
                numeric=frozenset(range(1, 6 + bool(weights))),
                title="Each class, reference",
                caption=shown
                + "Intervals: Clopper-Pearson, 95 %."
                + " The weight is that of the class in the training loss." * bool(weights),
                scope=facts.scope(),
            ),
        ),
    )


_FIGURES = ("recall", "95 % interval", "precision", "NLL")


def _row(
    answers: Predictions,
    at: int,
    name: str,
    weights: Mapping[str, float],
    losses: NDArray[np.float64],
) -> tuple[float, tuple[Cell, ...]]:
    """The recall to sort by, and the cells."""
    assert answers.labels is not None
    truly = answers.labels == at
    said = answers.probabilities.argmax(axis=1) == at
    n, right = int(truly.sum()), int((truly & said).sum())
    low, high = clopper_pearson(right, n) if n else (float("nan"), float("nan"))
    loss = float(losses[truly].mean()) if n else None
    weight = (Cell(text=number(weights.get(name), 2)),) if weights else ()
    figures = (
        percent(right / n if n else None, 1),
        f"{percent(low, 1)} to {percent(high, 1)}" if n else number(None),
        percent(right / said.sum() if said.any() else None, 1),
        number(loss, 3),
    )
    cells = (Cell(text=clean(name)), Cell(text=f"{n:,}"), *weight)
    return (right / n if n else -1.0, (*cells, *(Cell(text=text) for text in figures)))


def _weights(facts: ReleaseFacts, names: tuple[str, ...]) -> dict[str, float]:
    """The weights of the classes in the training loss, by name, when the history has them."""
    history = facts.data.history
    found = history.get("class_weights") if isinstance(history, Mapping) else None
    if isinstance(found, Mapping):
        values = {str(name): finite(value) for name, value in found.items()}
    elif isinstance(found, list | tuple) and len(found) == len(names):
        values = {name: finite(value) for name, value in zip(names, found, strict=True)}
    else:
        return {}
    return {name: value for name, value in values.items() if value is not None}
