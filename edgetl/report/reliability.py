"""Reliability diagrams: does 90 % mean nine out of ten?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetl.extras import extra
from edgetl.gate.predictions import Predictions
from edgetl.metrics import ece, ece_if_calibrated
from edgetl.report.blocks import Fold, Plot, Plots, Section
from edgetl.report.calibration_measures import measures
from edgetl.report.content import REFERENCE
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import clean, number
from edgetl.report.theme import axes, canvas, colour, to_svg
from edgetl.stats import clopper_pearson

with extra("report"):
    from markupsafe import Markup

BINS = 15
_SIDES = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Bins:
    """The bins of confidence that hold answers, each [bins].

    Attributes:
        index: 0 .. BINS-1.
        count: int64, answers.
        confidence, accuracy: Means.
        low, high: Clopper and Pearson's interval of the accuracy at 95 %.
    """

    index: NDArray[np.int64]
    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def section(facts: ReleaseFacts) -> Section | None:
    """A diagram of the reference and of each variant shown; None without labelled answers."""
    answers = facts.answers()
    names = [name for name in (REFERENCE, *facts.shown) if name in answers][:_SIDES]
    names = [name for name in names if answers[name].labels is not None]
    if not names:
        return None
    bins = {name: bins_of(answers[name]) for name in names}
    most = max(float(found.count.max() / found.count.sum()) for found in bins.values())
    return Section(
        id="calibration",
        title="Calibration of the probabilities",
        read=(
            "Dots on the diagonal mean that the stated confidence comes true; whiskers show how "
            "far chance alone could move a dot (95 %), and the bars below where the answers "
            "lie. All sides are drawn on one scale."
        ),
        blocks=(
            Plots(
                plots=tuple(_plot(facts, name, answers[name], bins[name], most) for name in names)
            ),
            Fold(
                title="Calibration by other measures",
                grids=(measures(facts, {name: answers[name] for name in names}),),
            ),
        ),
    )


def bins_of(predictions: Predictions) -> Bins:
    """The reliability bins of labelled predictions, as `edgetl.metrics.ece` makes them.

    Example:
        >>> found = bins_of(Predictions(labels=[0, 0], probabilities=[[0.9, 0.1], [0.4, 0.6]]))
        >>> found.index.tolist(), found.accuracy.tolist()
        ([9, 13], [0.0, 1.0])
    """
    assert predictions.labels is not None
    confidence = predictions.probabilities.max(axis=1)
    right = predictions.probabilities.argmax(axis=1) == predictions.labels
    edges = np.arange(1, BINS) / BINS
    place = np.searchsorted(edges, confidence, side="right")
    index, count = np.unique(place, return_counts=True)
    hits = [int(right[place == one].sum()) for one in index]
    intervals = [clopper_pearson(k, int(n)) for k, n in zip(hits, count, strict=True)]
    return Bins(
        index=index.astype(np.int64),
        count=count.astype(np.int64),
        confidence=np.array([confidence[place == one].mean() for one in index]),
        accuracy=np.array(hits) / count,
        low=np.array([low for low, _ in intervals]),
        high=np.array([high for _, high in intervals]),
    )


def _plot(
    facts: ReleaseFacts, name: str, predictions: Predictions, bins: Bins, most: float
) -> Plot:
    assert predictions.labels is not None
    seen = ece(predictions.probabilities, predictions.labels, bins=BINS)
    by_chance = ece_if_calibrated(predictions.probabilities, bins=BINS)
    return Plot(
        svg=_draw(facts, name, bins, seen, most),
        title=clean(name),
        caption=(
            f"ECE {number(seen, 4)} ({BINS} bins); a perfectly calibrated model with these "
            f"confidences would show {number(by_chance, 4)} at this n."
        ),
        scope=f"{clean(facts.split)} split, n = {predictions.n:,}",
    )


def _draw(facts: ReleaseFacts, name: str, bins: Bins, seen: float, most: float) -> Markup:
    role, marker = facts.series(name)
    ink = colour(role)
    with canvas(330, width=300) as figure:
        plot = axes(figure, left=52, right=18, top=8, bottom=112)
        plot.plot([0, 1], [0, 1], color=colour("muted"), linewidth=1, linestyle=(0, (4, 3)))
        plot.vlines(bins.confidence, bins.low, bins.high, color=ink, linewidth=2, alpha=0.4)
        plot.plot(bins.confidence, bins.accuracy, color=ink, linewidth=1, alpha=0.5)
        plot.plot(bins.confidence, bins.accuracy, marker, color=ink, markersize=6)
        plot.set_ylim(-0.03, 1.03)
        plot.set_ylabel("accuracy")
        plot.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"], rotation=0)
        plot.tick_params(axis="x", labelbottom=False)
        plot.grid(axis="y")
        below = axes(figure, left=52, right=18, top=240, bottom=40, sharex=plot)
        width = 1 / BINS
        share = bins.count / bins.count.sum()
        below.bar(
            (bins.index + 0.5) * width, share, width * 0.86, color=ink, alpha=0.55, linewidth=0
        )
        below.set_xlim(0, 1.01)
        below.set_ylim(0, most)
        below.set_yticks([0, most], ["0", f"{number(100 * most, 0)} %"])
        below.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
        below.set_xlabel("confidence of the answer")
        described = "; ".join(
            f"{number(100 * c, 0)} % stated, {number(100 * a, 0)} % right of {n}"
            for c, a, n in zip(bins.confidence, bins.accuracy, bins.count, strict=True)
        )
        return to_svg(
            figure,
            name=f"reliability {name}",
            label=f"Reliability of {clean(name)}, ECE {number(seen, 4)}: {described}.",
        )
