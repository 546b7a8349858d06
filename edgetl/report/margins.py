"""The intervals against the limits: a forest plot of every gate of every judged variant."""

from __future__ import annotations

from collections.abc import Sequence

from edgetl.extras import extra
from edgetl.report.blocks import Block, Cell, Fold, Forest, ForestGroup, ForestRow, Grid, Section
from edgetl.report.documents import Table
from edgetl.report.facts import ReleaseFacts
from edgetl.report.gates import (
    SIGNS,
    TONES,
    amount,
    gate_name,
    judged_figure,
    kind_of_gate,
)
from edgetl.report.gauge import axis_gauge, interval_gauge
from edgetl.report.numbers import DASH, clean, count, finite, number

with extra("report"):
    from markupsafe import Markup

MAX_SLICES = 12
"""Beyond so many slices only those that did not pass, and the closest that did, are drawn."""


def section(facts: ReleaseFacts) -> Section | None:
    """A row for each gate, grouped by variant; None when nothing was judged."""
    groups = tuple(
        _group(facts, name, judged)
        for name, entry in facts.judged.items()
        if (judged := drawable(entry))
    )
    if not groups:
        return None
    blocks: list[Block] = [
        Forest(
            groups=groups,
            title="Every gate's interval against its limit",
            axis=axis_gauge(),
            caption=(
                "Marks: ● passed, ✕ failed, ◆ undecided; an arrow is an end outside the picture. "
                "0 is what the reference does; for a latency, a size or a memory it is nothing "
                "at all."
            ),
        ),
        Fold(title="All figures of these gates", grids=tuple(_figures(facts))),
    ]
    return Section(
        id="margins",
        title="Intervals against the limits",
        read=(
            "Each bar spans where the true harm may lie, as a share of its limit; a gate passes "
            "when the whole bar is left of the limit, fails when it is right of it, and is "
            "undecided otherwise."
        ),
        blocks=tuple(blocks),
    )


def drawable(entry: Table) -> list[Table]:
    """The gates of a verdict's entry that have a figure and a limit."""
    return [
        gate
        for gate in entry.get("gates", ())
        if finite(gate.get("estimate")) is not None
        and (finite(gate.get("limit")) or 0) > 0
        and gate["verdict"] != "NOT JUDGED"
    ]


def _group(facts: ReleaseFacts, name: str, gates: Sequence[Table]) -> ForestGroup:
    entry = facts.judged[name]
    outcome = str(entry.get("verdict", ""))
    shown = picked(gates)
    left = len(gates) - len(shown)
    alpha = finite(entry.get("alpha"))
    level = "" if alpha is None else f", bounds one-sided at {100 * (1 - alpha):g} %"
    return ForestGroup(
        name=clean(name),
        outcome=clean(outcome),
        sign=SIGNS.get(outcome, ""),
        tone=TONES.get(outcome, "quiet"),
        scope=facts.scope() + level,
        rows=tuple(_row(facts, gate) for gate in shown),
        rest=f"{count(left, 'further slice')} passed, with more room to the limit." if left else "",
    )


def picked(gates: Sequence[Table]) -> list[Table]:
    """All gates, but of many slices those that did not pass and the ones nearest to the limit."""
    slices = [gate for gate in gates if kind_of_gate(gate["name"]) == "slice"]
    if len(slices) <= MAX_SLICES:
        return list(gates)
    ordered = sorted(slices, key=lambda gate: (gate["verdict"] == "PASS", -_share(gate, "upper")))
    wanted = sum(gate["verdict"] != "PASS" for gate in slices)
    kept = [str(gate["name"]) for gate in ordered[: max(wanted, MAX_SLICES)]]
    return [gate for gate in gates if kind_of_gate(gate["name"]) != "slice" or gate["name"] in kept]


def _share(gate: Table, key: str) -> float:
    value = finite(gate.get(key))
    return float("inf") if value is None else value / float(gate["limit"])


def _row(facts: ReleaseFacts, gate: Table) -> ForestRow:
    name, limit, outcome = str(gate["name"]), float(gate["limit"]), str(gate["verdict"])
    return ForestRow(
        name=gate_name(facts, name),
        detail=clean(gate.get("detail") or "", 200),
        figure=judged_figure(gate),
        seen=f"seen {amount(name, gate['estimate'], limit=limit)}",
        limit=amount(name, limit, limit=limit),
        gauge=_gauge(facts, gate),
        outcome=clean(outcome),
        sign=SIGNS.get(outcome, ""),
        tone=TONES.get(outcome, "quiet"),
    )


def _gauge(facts: ReleaseFacts, gate: Table) -> Markup:
    limit = float(gate["limit"])
    low, middle, high = (
        None if (value := finite(gate.get(key))) is None else value / limit
        for key in ("lower", "estimate", "upper")
    )
    assert middle is not None  # `drawable` asked for it
    words = [DASH if share is None else f"{number(100 * share, 0)} %" for share in (low, high)]
    outcome = str(gate["verdict"])
    return interval_gauge(
        low,
        middle,
        high,
        outcome=outcome,
        tone=TONES.get(outcome, "quiet"),
        label=f"{gate_name(facts, gate['name'])}: interval from {words[0]} to {words[1]} of the "
        f"limit, {number(100 * middle, 0)} % seen; {clean(outcome)}",
    )


def _figures(facts: ReleaseFacts) -> list[Grid]:
    return [
        Grid(
            head=("gate", "outcome", "seen", "lower bound", "upper bound", "limit", "n"),
            rows=tuple(_cells(facts, gate) for gate in entry.get("gates", ())),
            numeric=frozenset({2, 3, 4, 5, 6}),
            title=clean(name),
            caption="n counts labelled inputs; for a latency rounds or calls of measurement.",
            scope=facts.scope(),
        )
        for name, entry in facts.judged.items()
    ]


def _cells(facts: ReleaseFacts, gate: Table) -> tuple[Cell, ...]:
    name, limit, outcome = str(gate["name"]), gate.get("limit"), str(gate["verdict"])
    sign = SIGNS.get(outcome, "")
    return (
        Cell(text=gate_name(facts, name)),
        Cell(text=f"{sign} {clean(outcome)}".strip(), tone=TONES.get(outcome, "quiet")),
        *(
            Cell(text=amount(name, gate.get(key), limit=limit))
            for key in ("estimate", "lower", "upper", "limit")
        ),
        Cell(text=number(gate.get("n"), 0)),
    )
