"""Further measures of calibration: reported for every side, never judged."""

from __future__ import annotations

from collections.abc import Mapping

from edgetl import metrics
from edgetl.gate.predictions import Predictions
from edgetl.report.blocks import Cell, Grid
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import clean, number


def measures(facts: ReleaseFacts, sides: Mapping[str, Predictions]) -> Grid:
    """A row for each side, of labelled answers."""
    return Grid(
        head=(
            "side",
            "ECE, equal width",
            "ECE, equal mass",
            "classwise ECE",
            "smooth ECE",
            "debiased L2",
            "largest gap of a bin",
            "AURC",
        ),
        rows=tuple(_row(name, one) for name, one in sides.items()),
        numeric=frozenset(range(1, 8)),
        caption="In brackets: what a perfectly calibrated model with these confidences would show "
        "at this n. Nothing here is judged: such errors are biased most for the side that is "
        "calibrated best.",
        scope=facts.scope(),
    )


def _row(name: str, one: Predictions) -> tuple[Cell, ...]:
    assert one.labels is not None
    two = (one.probabilities, one.labels)
    by_chance = [
        metrics.ece_if_calibrated(one.probabilities, scheme="width"),
        metrics.ece_if_calibrated(one.probabilities, scheme="mass"),
    ]
    seen = [metrics.ece(*two, scheme="width"), metrics.ece(*two, scheme="mass")]
    return (
        Cell(text=clean(name)),
        *(
            Cell(text=f"{number(value, 4)} ({number(chance, 4)})")
            for value, chance in zip(seen, by_chance, strict=True)
        ),
        *(
            Cell(text=number(value, 4))
            for value in (
                metrics.classwise_ece(*two),
                metrics.smooth_ece(*two),
                metrics.debiased_l2(*two),
                metrics.mce(*two),
                metrics.aurc(*two),
            )
        ),
    )
