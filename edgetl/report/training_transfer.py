"""Whether the start helped: the gap between source and target, and what other starts reach."""

from __future__ import annotations

from collections.abc import Mapping

from edgetl.report.blocks import Block, Cell, Facts, Grid, Note, Section
from edgetl.report.documents import Table
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import clean, finite, number, percent

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
            )
            rows.append((Cell(text=name), *(Cell(text=text) for text in figures)))
    if not rows:
        return None
    return Grid(
        head=("start", "top-1", "NLL", "ECE"),
        rows=tuple(rows),
        numeric=frozenset({1, 2, 3}),
        title="Starts compared",
        scope="val split",
    )


def _gap(document: Table) -> Facts | None:
    gap = document.get("gap")
    if not isinstance(gap, Mapping):
        return None
    pairs = [
        (clean(name).replace("_", " "), number(value, 4) if finite(value) else clean(value))
        for name, value in gap.items()
        if isinstance(value, str | int | float)
    ]
    return Facts(pairs=tuple(pairs), title="Gap between source and target") if pairs else None
