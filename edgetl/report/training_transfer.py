"""Whether the start helped: the gap between source and target, and what other starts reach."""

from __future__ import annotations

from collections.abc import Mapping

from edgetl.report.blocks import Block, Cell, Facts, Grid, Note, Section
from edgetl.report.documents import Table
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import DASH, clean, finite, number, percent

_SENTENCE = 600
_SIDES = (
    ("this", "this classifier"),
    ("from_scratch", "from scratch"),
    ("source_model", "the source model"),
)


def section(facts: ReleaseFacts) -> Section | None:
    """The sentence on negative transfer, the baselines and the gap; None where none was taken."""
    document = facts.data.transfer_check
    if document is None:
        return None
    blocks: list[Block] = []
    if sentence := clean(document.get("sentence") or "", _SENTENCE):
        blocks.append(Note(text=sentence, tone="unsure" if document.get("negative") else ""))
    blocks += [block for block in (_sides(document), _gap(document)) if block is not None]
    if not blocks:
        return None
    return Section(
        id="transfer",
        title="Did the start help",
        read=(
            "The same images and steps from other starts: where training from scratch does better, "
            "the source harms, which is called negative transfer."
        ),
        blocks=tuple(blocks),
    )


def _sides(document: Table) -> Grid | None:
    rows = []
    for key, name in _SIDES:
        found = document.get(key)
        if isinstance(found, Mapping):
            figures = (
                percent(found.get("top1")),
                number(found.get("nll"), 4),
                number(found.get("ece"), 4),
                _difference(found.get("minus_this")),
            )
            rows.append((Cell(text=name), *(Cell(text=text) for text in figures)))
    if not rows:
        return None
    return Grid(
        head=("start", "top-1", "NLL", "ECE", "points over this, 95 % interval"),
        rows=tuple(rows),
        numeric=frozenset({1, 2, 3, 4}),
        title="Starts compared",
        caption="One training each, before any temperature; the interval is of the images.",
        scope="val split",
    )


def _difference(found: object) -> str:
    if not isinstance(found, Mapping):
        return DASH
    estimate, low, high = (finite(found.get(key)) for key in ("estimate", "low", "high"))
    if estimate is None or low is None or high is None:
        return DASH
    ends = f"{number(100 * low, 1, sign=True)}, {number(100 * high, 1, sign=True)}"
    return f"{number(100 * estimate, 1, sign=True)} [{ends}]"


def _gap(document: Table) -> Facts | None:
    gap = document.get("gap")
    if not isinstance(gap, Mapping):
        return None
    pairs = [
        (clean(name).replace("_", " "), _gap_text(value))
        for name, value in gap.items()
        if isinstance(value, str | int | float)
    ]
    return Facts(pairs=tuple(pairs), title="Gap between source and target") if pairs else None


def _gap_text(value: str | int | float) -> str:
    found = finite(value)
    if found is None:
        return clean(value, _SENTENCE)
    return f"{found:,.0f}" if isinstance(value, int) else number(found, 4)
