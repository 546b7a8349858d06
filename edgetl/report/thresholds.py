"""Threshold transfer: at which probability a variant acts as the reference does at another."""

from __future__ import annotations

from dataclasses import dataclass

from edgetl.extras import extra
from edgetl.report.blocks import Block, Cell, Fold, Grid, Note, Plot, Plots, Section
from edgetl.report.documents import (
    THRESHOLDS,
    Table,
    figure,
    refuse,
    rows,
    table,
)
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import DASH, clean, finite, number, percent
from edgetl.report.theme import axes, canvas, colour, to_svg

with extra("report"):
    from markupsafe import Markup

_TOLD = 0.8
"""The reference's threshold that the page speaks of in a sentence, where it is in the table."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One column of counterparts: the thresholds and their intervals, None where none is found."""

    threshold: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]

    def words(self, at: int) -> str:
        """A threshold with its interval."""
        if self.threshold[at] is None:
            return "none found"
        low, high = number(self.low[at], 3), number(self.high[at], 3)
        return f"{number(self.threshold[at], 3)} [{low}, {high}]"


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """A variant's table: what each threshold of the reference becomes, and what it does on test."""

    n: int
    reference: tuple[float, ...]
    acceptance: Kept
    precision: Kept
    test_n: int
    points: tuple[Table, ...]


def section(facts: ReleaseFacts) -> Section | None:
    """A curve and a table a variant; None when no thresholds were transferred."""
    if facts.data.thresholds is None:
        return None
    read = transfers_of(facts.data.thresholds)
    if not read:
        return None
    # In the order of the other sections, which is not the document's.
    found = {name: read[name] for name in (*facts.variants, *read) if name in read}
    most = max(abs(end) for one in found.values() for end in _ends(one))
    blocks: list[Block] = [
        *(Note(text=words) for name, one in found.items() if (words := message(name, one))),
        Plots(plots=tuple(_plot(facts, name, one, most) for name, one in found.items())),
        Fold(
            title="The thresholds, and what they come to on test",
            grids=tuple(_grid(name, one) for name, one in found.items()),
        ),
    ]
    return Section(
        id="thresholds",
        title="Thresholds that move",
        read=(
            "An app that acts on a probability needs another number for a variant: the one that "
            "accepts as many inputs, or the one above which as many answers are right."
        ),
        blocks=tuple(blocks),
    )


def transfers_of(document: Table) -> dict[str, Transfer]:
    """Read the variants of a document ``edgetl.thresholds/1``.

    Raises:
        GateError: When something in it is missing or of the wrong kind; the message names it.
    """
    variants = table(document, "variants", THRESHOLDS)
    return {str(name): _transfer(str(name), variants) for name in variants}


def _transfer(name: str, variants: Table) -> Transfer:
    one = table(variants, name, THRESHOLDS)
    where = f"{clean(name)}: "
    reference = _numbers(one, "reference", where)
    if any(value is None for value in reference):
        refuse(THRESHOLDS, f"{where}reference with a gap")
    on_test = table(one, "on_test", THRESHOLDS, where=where)
    return Transfer(
        n=int(figure(one, "n", THRESHOLDS, where=where)),
        reference=tuple(value for value in reference if value is not None),
        acceptance=_kept(one, "acceptance", where, len(reference)),
        precision=_kept(one, "precision", where, len(reference)),
        test_n=int(figure(on_test, "n", THRESHOLDS, where=where)),
        points=tuple(rows(on_test, "points", THRESHOLDS)),
    )


def _kept(one: Table, key: str, where: str, size: int) -> Kept:
    columns = table(one, key, THRESHOLDS, where=where)
    found = [_numbers(columns, name, f"{where}{key}: ") for name in ("threshold", "low", "high")]
    if {len(column) for column in found} != {size}:
        refuse(THRESHOLDS, f"{where}{key} of another length than the reference's thresholds")
    return Kept(threshold=found[0], low=found[1], high=found[2])


def _numbers(document: Table, key: str, where: str) -> tuple[float | None, ...]:
    value = document.get(key)
    if not isinstance(value, list | tuple) or any(
        one is not None and finite(one) is None for one in value
    ):
        refuse(THRESHOLDS, f"{where}{key} that is no list of numbers")
    return tuple(value)


def message(name: str, transfer: Transfer) -> str:
    """What the table says of one threshold, in a sentence; empty when it has not that one."""
    if _TOLD not in transfer.reference:
        return ""
    at = transfer.reference.index(_TOLD)
    found = transfer.acceptance
    if found.threshold[at] is None:
        return ""
    return (
        f"Where the reference acts from {_TOLD:.2f} on, {clean(name)} accepts as many inputs from "
        f"{number(found.threshold[at], 3)} on (95\u00a0% interval {number(found.low[at], 3)} to "
        f"{number(found.high[at], 3)})."
    )


def _shifts(transfer: Transfer) -> list[tuple[float, float, float, float]]:
    """Each of the reference's thresholds with how far it moves, and that with its interval."""
    kept = transfer.acceptance
    columns = zip(transfer.reference, kept.threshold, kept.low, kept.high, strict=True)
    return [
        (at, value - at, low - at, high - at)
        for at, value, low, high in columns
        if value is not None and low is not None and high is not None
    ]


def _ends(transfer: Transfer) -> list[float]:
    return [1e-3, *(end for shift in _shifts(transfer) for end in shift[1:])]


def _plot(facts: ReleaseFacts, name: str, transfer: Transfer, most: float) -> Plot:
    return Plot(
        svg=_draw(facts, name, transfer, most),
        title=f"{clean(name)}: how far each threshold moves",
        caption="Line: the threshold that accepts as many inputs, minus the reference's; "
        "band: its 95 % interval; 0: nothing moves. All variants are drawn on one scale.",
        scope=f"calib split, n = {transfer.n:,}",
    )


def _draw(facts: ReleaseFacts, name: str, transfer: Transfer, most: float) -> Markup:
    known = _shifts(transfer)
    role, marker = facts.series(name)
    with canvas(220) as figure:
        plot = axes(figure, left=56, right=16, top=8, bottom=40)
        if known:
            xs, shifts, lows, highs = zip(*known, strict=True)
            plot.fill_between(xs, lows, highs, facecolor=colour(role), alpha=0.25, linewidth=0)
            plot.plot(xs, shifts, color=colour(role), linewidth=1.5)
            some = slice(None, None, max(1, len(xs) // 10))
            plot.plot(xs[some], shifts[some], marker, color=colour(role), markersize=5)
        plot.axhline(0, color=colour("muted"), linewidth=1, linestyle=(0, (4, 3)))
        plot.set_ylim(-1.05 * most, 1.05 * most)
        plot.locator_params(nbins=5)
        plot.yaxis.set_major_formatter(lambda value, _: number(value, 3, sign=True))
        plot.grid(axis="y")
        plot.set_xlabel("threshold of the reference")
        plot.set_ylabel("shift")
        widest = max(known, key=lambda one: abs(one[1]), default=(0.0, 0.0, 0.0, 0.0))
        heard = (
            f"How far thresholds move for {clean(name)}: at most by "
            f"{number(widest[1], 3, sign=True)}, where the reference acts at {widest[0]:.2f}."
        )
        return to_svg(figure, name=f"thresholds {name}", label=heard)


def _grid(name: str, transfer: Transfer) -> Grid:
    return Grid(
        head=(
            "reference at",
            "as many accepted at [95 %]",
            "as often right at [95 %]",
            "on test: reference",
            "same number",
            "its own",
        ),
        rows=tuple(row for point in transfer.points if (row := _row(transfer, point)) is not None),
        numeric=frozenset({0, 3, 4, 5}),
        title=clean(name),
        caption="On test: the share that is accepted, and how much of that is right, of the "
        "reference, and of the variant at the same number and at its own, which accepts as many.",
        scope=f"calib split, n = {transfer.n:,}; test split, n = {transfer.test_n:,}",
    )


def _row(transfer: Transfer, point: Table) -> tuple[Cell, ...] | None:
    at = finite((point.get("reference") or {}).get("threshold"))
    if at not in transfer.reference:
        return None
    index: int = transfer.reference.index(at)
    return (
        Cell(text=number(at, 2)),
        Cell(text=transfer.acceptance.words(index)),
        Cell(text=transfer.precision.words(index)),
        *(Cell(text=_acts(point.get(key))) for key in ("reference", "same_number", "acceptance")),
    )


def _acts(found: Table | None) -> str:
    if not found:
        return DASH
    return f"{percent(found.get('acceptance'), 1)}, {percent(found.get('precision'), 1)}"
