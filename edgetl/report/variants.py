"""The table of variants, and why each was chosen or not."""

from __future__ import annotations

from collections.abc import Mapping

from edgetl.report.blocks import Cell, Grid, Section
from edgetl.report.content import REFERENCE
from edgetl.report.documents import Table
from edgetl.report.facts import ReleaseFacts
from edgetl.report.gates import SIGNS, TONES
from edgetl.report.numbers import clean, number, percent, significant, times


def section(facts: ReleaseFacts) -> Section | None:
    """Every variant with its size, speed, quality and verdict; metrics alone without rows."""
    grids = [grid for grid in (_rows(facts) or _metrics(facts), _reasons(facts)) if grid]
    if not grids:
        return None
    return Section(
        id="variants",
        title="The variants",
        read=(
            "Read a row against the reference at the top: × says how many times as fast, and the "
            "split says on which inputs its quality was seen, for only winners are judged on test."
            if facts.data.rows
            else "Read a row against the reference at the top: all figures are of the same inputs."
        ),
        blocks=tuple(grids),
    )


def _rows(facts: ReleaseFacts) -> Grid | None:
    rows = facts.data.rows
    if not rows:
        return None
    splits = {str(row.get("split", "")) for row in rows}
    objective = facts.data.verdict["policy"].get("objective") or {}
    cell = next(iter(facts.cells.values()), {})
    setting = f"batch {objective.get('batch', 1)}"
    if "threads" in cell:
        setting += f", {cell['threads']} threads"
    return Grid(
        head=_head(facts),
        rows=tuple(_row(row, ships=row["id"] in facts.shipped) for row in rows),
        numeric=frozenset(range(3, 11)),
        caption="× is the ratio of the two p50s; the speeds at the top of the page are means over "
        "paired rounds, with their intervals.",
        scope="; ".join(facts.scope(split) for split in sorted(splits)) + f"; latency at {setting}",
        marked=frozenset(i for i, row in enumerate(rows) if row["id"] in facts.shipped),
    )


def _head(facts: ReleaseFacts) -> tuple[str, ...]:
    # The verdict stands second, where a phone shows it without scrolling the table.
    return (
        "variant",
        "verdict",
        "precision",
        "size MB",
        "p50 ms",
        "p99 ms",
        f"× {facts.reference_name.removeprefix('the ')}",
        "× best FP32",
        "top-1",
        "NLL",
        "ECE",
        "split",
    )


def _verdict(verdict: str) -> Cell:
    text = f"{SIGNS.get(verdict, '')} {clean(verdict)}".strip()
    return Cell(text=text, tone=TONES.get(verdict, "quiet"))


def _row(row: Table, *, ships: bool) -> tuple[Cell, ...]:
    return (
        Cell(
            text=clean(row["id"]),
            title=clean(row.get("backend", "")),
            mark="ships" if ships else "",
        ),
        _verdict(str(row.get("verdict", ""))),
        Cell(text=clean(row.get("precision", ""))),
        Cell(text=significant(row.get("size_mb"))),
        Cell(text=significant(row.get("p50_ms"))),
        Cell(text=significant(row.get("p99_ms"))),
        Cell(text=times(row.get("speed_over_reference"))),
        Cell(text=times(row.get("speed_over_fp32"))),
        Cell(text=percent(row.get("top1"))),
        Cell(text=number(row.get("nll"), 4)),
        Cell(text=number(row.get("ece"), 4)),
        Cell(text=clean(row.get("split", ""))),
    )


def _metrics(facts: ReleaseFacts) -> Grid | None:
    """Without a closing table: the metrics that the verdict itself holds."""
    sides: list[tuple[str, Mapping[str, object], str]] = []
    for name, entry in facts.judged.items():
        metrics = entry.get("metrics", {})
        if not sides and "reference" in metrics:
            sides.append((REFERENCE, metrics["reference"], "reference"))
        if "candidate" in metrics:
            sides.append((name, metrics["candidate"], str(entry.get("verdict", ""))))
    if not sides:
        return None
    return Grid(
        head=("variant", "verdict", "top-1", "NLL", "Brier", "ECE", "mean entropy"),
        rows=tuple(
            (
                Cell(text=clean(name)),
                _verdict(verdict),
                Cell(text=percent(metrics.get("top1"))),
                *(Cell(text=number(metrics.get(key), 4)) for key in _PLAIN),
            )
            for name, metrics, verdict in sides
        ),
        numeric=frozenset(range(2, 7)),
        scope=facts.scope(),
        marked=frozenset(i for i, side in enumerate(sides) if side[0] in facts.shipped),
    )


_PLAIN = ("nll", "brier", "ece", "mean_entropy")


def _reasons(facts: ReleaseFacts) -> Grid | None:
    compared = facts.data.verdict.get("selection", ())
    if not compared:
        return None
    return Grid(
        head=("candidate", "chosen", "why"),
        rows=tuple(
            (
                Cell(text=clean(entry["id"])),
                Cell(
                    text="yes" if entry.get("chosen") else "no",
                    tone="" if entry.get("chosen") else "quiet",
                ),
                Cell(text=clean(entry.get("reason", ""), 200)),
            )
            for entry in compared
        ),
        title="Who was chosen, and why",
        scope=facts.scope(str(compared[0].get("split", "val"))),
    )
