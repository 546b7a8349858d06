"""Which classes are mistaken for which, by the reference and by what ships."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.extras import extra
from edgetl.gate.predictions import Predictions
from edgetl.report.blocks import Block, Cell, Grid, Grids, Plot, Plots, Section
from edgetl.report.content import REFERENCE
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import clean, number, percent
from edgetl.report.theme import axes, canvas, colour, to_svg

with extra("report"):
    from markupsafe import Markup

MAX_HEAT = 30
"""Beyond so many classes a square of counts is unreadable: the most confused pairs are listed."""

_PAIRS = 20
_NAME = 20
_HEAD = 12
_VARIANTS = 5

_HALF = 500
"""Half of a wide page, in pixels."""

Counts = NDArray[np.int64]


def section(facts: ReleaseFacts) -> Section | None:
    """Confusion and recall of the reference and each variant shown; None without labelled answers
    of two sides."""
    answers = facts.answers()
    reference = answers.get(REFERENCE)
    if reference is None or reference.labels is None:
        return None
    k = reference.k
    shown = [n for n in facts.shown if answers[n].labels is not None and answers[n].k == k]
    if not shown:
        return None
    names = reference.classes or tuple(str(k) for k in range(reference.k))
    matrices = {side: confusion(answers[side]) for side in (REFERENCE, *shown[:_VARIANTS])}
    heat = reference.k <= MAX_HEAT
    blocks: list[Block] = [
        Grids(
            grids=tuple(_heat(facts, side, matrix, names) for side, matrix in matrices.items()),
            wide=_width(names, turned=True) > _HALF,
        )
        if heat
        else _pairs(facts, matrices, names)
    ]
    blocks.append(_recalls(facts, matrices, names))
    return Section(
        id="confusion",
        title="Which classes are confused",
        read=(
            "A row is the true class and a column the answer, so the diagonal is right and all "
            "else is wrong; all sides should show the same pattern."
            if heat
            else "Each row is one mistake, the true class and the answer, with how often each "
            "side makes it; all sides should make the same ones."
        ),
        blocks=tuple(blocks),
    )


def confusion(predictions: Predictions) -> Counts:
    """Counts int64 [K, K] by true class and answer.

    Example:
        >>> confusion(Predictions(labels=[0, 1], probabilities=[[0.9, 0.1], [0.8, 0.2]])).tolist()
        [[1, 0], [1, 0]]
    """
    assert predictions.labels is not None
    k = predictions.k
    answers = predictions.probabilities.argmax(axis=1)
    return np.bincount(predictions.labels * k + answers, minlength=k * k).reshape(k, k)


def _heat(facts: ReleaseFacts, side: str, matrix: Counts, names: Sequence[str]) -> Grid:
    rows = matrix.sum(axis=1, keepdims=True)
    share = np.sqrt(matrix / np.maximum(rows, 1))
    short = tuple(clean(name, _HEAD) for name in names)
    return Grid(
        head=("true", *short),
        rows=tuple(
            (
                Cell(text=short[true], title=clean(names[true])),
                *(
                    Cell(
                        text=str(matrix[true, answer]) if matrix[true, answer] else "·",
                        tint=round(100 * share[true, answer]) if matrix[true, answer] else 0,
                        hue="good" if true == answer else "bad",
                        title=f"{clean(names[true])} answered as {clean(names[answer])}: "
                        f"{matrix[true, answer]}",
                    )
                    for answer in range(len(names))
                ),
            )
            for true in range(len(names))
        ),
        numeric=frozenset(range(1, len(names) + 1)),
        title=clean(side),
        caption=f"{percent(np.trace(matrix) / max(1, matrix.sum()))} on the diagonal.",
        scope=facts.scope(),
        style="heat",
        turned=_width(names) > _HALF,
    )


def _width(names: Sequence[str], *, turned: bool = False) -> float:
    """About how wide a square of counts is, in pixels; less with its heads turned upright."""
    widths = [6.5 * len(clean(name, _HEAD)) + 12 for name in names]
    return max(widths) + sum(35 if turned else max(35, width) for width in widths)


def _pairs(facts: ReleaseFacts, matrices: Mapping[str, Counts], names: Sequence[str]) -> Grid:
    right = np.eye(len(names), dtype=bool)
    wrong = [np.where(right, 0, matrix) for matrix in matrices.values()]
    all_sides = np.sum(wrong, axis=0)
    order = np.argsort(-all_sides, axis=None, kind="stable")[:_PAIRS]
    total = matrices[REFERENCE].sum(axis=1)
    rows = []
    for true, answer in zip(*np.unravel_index(order, right.shape), strict=True):
        if all_sides[true, answer] == 0:
            break
        rows.append(
            (
                Cell(text=clean(names[true])),
                Cell(text=clean(names[answer])),
                *(Cell(text=str(side[true, answer])) for side in wrong),
                Cell(text=str(total[true])),
            )
        )
    return Grid(
        head=("true class", "answered as", *map(clean, matrices), "inputs of the class"),
        rows=tuple(rows),
        numeric=frozenset(range(2, 3 + len(wrong))),
        title=f"The {len(rows)} most frequent mistakes",
        scope=facts.scope(),
    )


def _recalls(facts: ReleaseFacts, matrices: Mapping[str, Counts], names: Sequence[str]) -> Plots:
    reference = matrices[REFERENCE]
    total = reference.sum(axis=1)
    plots = []
    for name, matrix in matrices.items():
        if name == REFERENCE:
            continue
        seen = np.nonzero(total)[0]
        ours, theirs = (np.diag(side)[seen] / total[seen] for side in (reference, matrix))
        order, what = _picked(ours, theirs)
        picked: list[Any] = [(seen[i], float(ours[i]), float(theirs[i])) for i in order]
        plots.append(
            Plot(
                svg=_draw_recall(facts, name, picked, names, total),
                title=f"Recall of each class: {clean(name)}",
                caption=f"Open circle: reference; filled mark: {clean(name)}; {what}.",
                scope=facts.scope(),
            )
        )
    return Plots(plots=tuple(plots))


def _picked(
    ours: NDArray[np.float64], theirs: NDArray[np.float64]
) -> tuple[NDArray[np.int64], str]:
    """The classes to show by their position, and in words which those are."""
    if len(ours) <= MAX_HEAT:
        return np.arange(len(ours)), "every class"
    change = theirs - ours
    order = np.argsort(change, kind="stable")
    losses = order[change[order] < 0][:20]
    gains = order[change[order] > 0][-5:][::-1]
    words = [word for word, of in (("losses", losses), ("gains", gains)) if len(of)]
    if not words:
        return np.argsort(ours, kind="stable")[:20], "no class changed, the 20 lowest are shown"
    return np.r_[losses, gains], ", then ".join(f"the largest {word}" for word in words)


def _draw_recall(
    facts: ReleaseFacts, winner: str, picked: Sequence[Any], names: Sequence[str], total: Counts
) -> Markup:
    role, marker = facts.series(winner)
    left = 24 + 5.8 * max(len(clean(names[k], _NAME)) for k, _, _ in picked)
    lowest = min(min(ours, theirs) for _, ours, theirs in picked)
    start = max(0.0, np.floor(10 * lowest - 0.5) / 10)
    with canvas(52 + 20 * len(picked)) as figure:
        plot = axes(figure, left=left, right=52, top=4, bottom=42)
        for row, (_, ours, theirs) in enumerate(picked):
            plot.plot([ours, theirs], [row, row], color=colour(role), linewidth=2, alpha=0.4)
            plot.plot(
                ours, row, "o", markersize=9, markerfacecolor="none", markeredgecolor=colour("ink")
            )
            plot.plot(theirs, row, marker, markersize=4.5, color=colour(role))
            plot.text(
                1.0,
                row,
                f"  n {total[picked[row][0]]:,}",
                transform=plot.get_yaxis_transform(),
                va="center",
                fontsize=9.5,
                color=colour("muted"),
            )
        plot.set_ylim(len(picked) - 0.4, -0.6)
        plot.set_xlim(start - 0.02, 1.02)
        plot.set_yticks(range(len(picked)), [clean(names[k], _NAME) for k, _, _ in picked])
        plot.tick_params(axis="y", labelcolor=colour("ink"))
        ticks = np.linspace(start, 1, 3)
        plot.set_xticks(ticks, [f"{number(100 * tick, 0)} %" for tick in ticks])
        plot.set_xlabel("recall")
        plot.grid(axis="x")
        described = "; ".join(
            f"{clean(names[k])} {percent(ours, 1)} and {percent(theirs, 1)}"
            for k, ours, theirs in picked
        )
        return to_svg(
            figure,
            name=f"recall {winner}",
            label=f"Recall of each class, reference and {clean(winner)}: {described}.",
        )
