"""Where answers changed: tables by class and by slice, a variant beside the other."""

from __future__ import annotations

from collections.abc import Sequence

from edgetl.gate.predictions import Predictions
from edgetl.metrics import flips
from edgetl.report.blocks import Block, Cell, Fold, Grid, Grids, Note, Section
from edgetl.report.content import REFERENCE
from edgetl.report.facts import ReleaseFacts
from edgetl.report.gauge import share_gauge
from edgetl.report.groups import MAX_VALUES, Group, Way, groups_of, ways_of
from edgetl.report.numbers import clean, count, percent

_SHOWN = 8
_FOLDED = 200
_VARIANTS = 5


def section(facts: ReleaseFacts) -> Section | None:
    """Tables by class and by slice of each variant shown; None without answers of two sides."""
    answers = facts.answers()
    reference = answers.get(REFERENCE)
    if reference is None:
        return None
    shown = {
        name: answers[name]
        for name in facts.shown[:_VARIANTS]
        if (answers[name].n, answers[name].k) == (reference.n, reference.k)
    }
    if not shown:
        return None
    ways, left_out = ways_of(reference)
    moved = {
        name: one
        for name, one in shown.items()
        if flips(reference.probabilities, one.probabilities)
    }
    blocks: list[Block] = [
        Note(text=f"{clean(name)}: no answer changed.") for name in shown if name not in moved
    ]
    if moved:
        blocks += _blocks(facts, ways, reference, moved)
    if left_out:
        words = f"Not shown: {', '.join(left_out)}, with more than {MAX_VALUES} different values."
        blocks.append(Note(text=words))
    return Section(
        id="changes",
        title="Where answers changed",
        read=(
            "Each bar is the share of a group that a variant answers differently from the "
            "reference, solid where a right answer was lost; the thin line is its 95 % interval, "
            "which is wide for a small group."
        ),
        blocks=tuple(blocks),
    )


def _blocks(
    facts: ReleaseFacts, ways: Sequence[Way], reference: Predictions, moved: dict[str, Predictions]
) -> list[Block]:
    shown: list[Grid] = []
    folds: list[Block] = []
    labelled = reference.labels is not None
    for way in ways:
        found = {name: groups_of(reference, one, way) for name, one in moved.items()}
        most = max(group.high for groups in found.values() for group in _top(groups))
        further: list[Grid] = []
        for name, groups in found.items():
            top = _top(groups)
            shown.append(_grid(facts, way, name, top, most, labelled=labelled, of=groups))
            rest = [group for group in groups[len(top) :] if group.changed][:_FOLDED]
            if rest:
                further.append(_grid(facts, way, name, rest, most, labelled=labelled))
        if further:
            folds.append(
                Fold(title=f"Further answers changed, by {way.title}", grids=tuple(further))
            )
    return [Grids(grids=tuple(shown)), *folds]


def _top(groups: Sequence[Group]) -> Sequence[Group]:
    """All of a few groups; of many those where most changed."""
    if len(groups) <= _SHOWN + 2:
        return groups
    return [group for group in groups[:_SHOWN] if group.changed] or groups[:1]


def _grid(
    facts: ReleaseFacts,
    way: Way,
    name: str,
    groups: Sequence[Group],
    most: float,
    *,
    labelled: bool,
    of: Sequence[Group] | None = None,
) -> Grid:
    head = (way.title, "answers changed", "right → wrong", "wrong → right")
    return Grid(
        head=head if labelled else head[:2],
        rows=tuple(_row(group, most, labelled=labelled) for group in groups),
        numeric=frozenset({2, 3}),
        title=f"{clean(name)}, by {way.title}",
        caption="" if of is None else _caption(of, len(groups)),
        scope=facts.scope(),
        style="bars",
    )


def _caption(groups: Sequence[Group], shown: int) -> str:
    still = sum(not group.changed for group in groups)
    words = [f"No answer changed in {still} of {len(groups)}."] if still else []
    if shown < len(groups):
        words.insert(0, f"The {count(shown, 'group')} with the largest share.")
    return " ".join(words)


def _row(group: Group, most: float, *, labelled: bool) -> tuple[Cell, ...]:
    interval = f"95 % interval {percent(group.low, 1)} to {percent(group.high, 1)}"
    words = f"{group.changed:,} of {group.n:,} · {percent(group.share, 1)}"
    gauge = share_gauge(
        group.low,
        group.share,
        group.high,
        most=most,
        negative=group.lost / group.n if labelled else group.share,
        label=f"{clean(group.name)}: {percent(group.share, 1)} changed, {interval}",
    )
    cells = (
        Cell(text=clean(group.name, 32)),
        Cell(text=words, gauge=gauge),
        Cell(text=f"{group.lost:,}"),
        Cell(text=f"{group.gained:,}"),
    )
    return cells if labelled else cells[:2]
