"""Conformal sets: whether they hold the true label as often as they promise, on every side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgetl.report.blocks import Block, Cell, Fold, Grid, Section, Tone
from edgetl.report.content import REFERENCE
from edgetl.report.documents import CONFORMAL, Table, figure, rows, table, text
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import DASH, clean, finite, number, percent

_WORDS = {"lac": "LAC", "aps": "APS"}
_TOLD = 0.9
"""The promise that the page shows without being asked, where it was measured."""


@dataclass(frozen=True, kw_only=True)
class Covered:
    """What one side's sets come to on test, for one method and one promised coverage.

    Attributes:
        measured, low, high: The share of inputs whose set holds the true label, with its interval
            at 95 %; None where the calib split is too small for the promise.
        least: Below this a measured share is at odds with the promise: it allows for what calib
            and test images happened to be drawn.
        mean_size: Labels in a set.
        empty: The share of sets without a label.
        difference: Coverage minus the reference's, with its interval at 95 %.
    """

    side: str
    method: str
    coverage: float
    measured: float | None
    low: float | None
    high: float | None
    least: float | None
    mean_size: float | None
    empty: float | None
    difference: tuple[float, float, float] | None


def section(facts: ReleaseFacts) -> Section | None:
    """A table for each method; None when no sets were fitted."""
    document = facts.data.conformal
    if document is None:
        return None
    covered, scope = covered_of(document)
    if not covered:
        return None
    promises = sorted({one.coverage for one in covered})
    told = _TOLD if _TOLD in promises else promises[len(promises) // 2]
    blocks: list[Block] = [_grid(facts, told, covered, scope)]
    if further := [promise for promise in promises if promise != told]:
        grids = tuple(_grid(facts, promise, covered, scope) for promise in further)
        blocks.append(Fold(title="Other promises", grids=grids))
    return Section(
        id="conformal",
        title="Sets that hold the true label",
        read=(
            "A conformal set lists as many labels as it takes to hold the true one as often as "
            "promised: a share below the promise says that the sets are too small, and a variant's "
            "larger sets say that it is less sure."
        ),
        blocks=tuple(blocks),
    )


def covered_of(document: Table) -> tuple[tuple[Covered, ...], str]:
    """Read a document ``edgetl.conformal/1``: every side's figures, and the scope in words.

    Raises:
        GateError: When something in it is missing or of the wrong kind; the message names it.
    """
    reference = table(document, REFERENCE, CONFORMAL)
    variants = table(document, "variants", CONFORMAL)
    sides = {REFERENCE: reference} | {
        str(name): table(variants, name, CONFORMAL) for name in variants
    }
    found: list[Covered] = []
    for name, side in sides.items():
        on_test = table(side, "on_test", CONFORMAL, where=f"{clean(name)}: ")
        found += [_covered(name, one) for one in rows(on_test, "sets", CONFORMAL)]
    fitted = int(figure(reference, "n", CONFORMAL))
    seen = int(figure(table(reference, "on_test", CONFORMAL), "n", CONFORMAL))
    return tuple(found), f"fitted on calib, n = {fitted:,}; test split, n = {seen:,}"


def _covered(side: str, one: Table) -> Covered:
    where = f"{clean(side)}: "
    difference = one.get("difference")
    ends = [finite((difference or {}).get(key)) for key in ("estimate", "low", "high")]
    known = [end for end in ends if end is not None]
    return Covered(
        side=side,
        method=text(one, "method", CONFORMAL, where=where),
        coverage=figure(one, "coverage", CONFORMAL, where=where),
        measured=finite(one.get("measured")),
        low=finite(one.get("low")),
        high=finite(one.get("high")),
        least=finite(one.get("expected_low")),
        mean_size=finite(one.get("mean_size")),
        empty=finite(one.get("empty")),
        difference=(known[0], known[1], known[2]) if len(known) == 3 else None,
    )


def _grid(facts: ReleaseFacts, promise: float, covered: Sequence[Covered], scope: str) -> Grid:
    sides = (REFERENCE, *facts.variants)
    chosen = sorted(
        (one for one in covered if one.coverage == promise),
        key=lambda one: (one.method, sides.index(one.side) if one.side in sides else len(sides)),
    )
    return Grid(
        head=(
            "side",
            "sets",
            "held",
            "95 % interval",
            "labels in a set",
            "empty sets",
            "against the reference, points",
        ),
        rows=tuple(_row(one) for one in chosen),
        numeric=frozenset({2, 4, 5}),
        title=f"Promised: {percent(promise, 1)}",
        scope=scope,
    )


def _row(one: Covered) -> tuple[Cell, ...]:
    word, tone = _judged(one)
    return (
        Cell(text=clean(one.side)),
        Cell(text=_WORDS.get(one.method, clean(one.method))),
        Cell(text=percent(one.measured, 1) + word, tone=tone),
        Cell(
            text=DASH
            if one.measured is None
            else f"{percent(one.low, 1)} to {percent(one.high, 1)}"
        ),
        Cell(text=number(one.mean_size, 2)),
        Cell(text=percent(one.empty, 1)),
        Cell(text=_points(one)),
    )


def _judged(one: Covered) -> tuple[str, Tone]:
    """A word where even an unlucky draw does not explain the share."""
    if one.measured is not None and one.least is not None and one.measured < one.least:
        return ", too few", "fail"
    return "", ""


def _points(one: Covered) -> str:
    if one.measured is None:
        return "calib is too small for it"
    if one.difference is None:
        return DASH
    estimate, low, high = (number(100 * value, 2, sign=True) for value in one.difference)
    return f"{estimate} [{low}, {high}]"
