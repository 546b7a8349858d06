"""Training images whose labels look wrong, each with its picture, for a person to go through."""

from __future__ import annotations

from collections.abc import Sequence

from edgetl.report.blocks import Cell, Grid, Note, Section
from edgetl.report.documents import SUSPICIOUS, Table, figure, rows
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import clean, count, finite, number, percent
from edgetl.report.pictures import thumbnail

MAX_LABELS = 20
"""How many are shown; the document has up to a thousand."""


def section(facts: ReleaseFacts) -> Section | None:
    """The most suspicious labels, or that none is; None where they were not looked for."""
    document = facts.data.suspicious
    if document is None:
        return None
    listed = rows(document, "images", SUSPICIOUS)
    shown = [image for image in listed if image.get("looks_wrong") is True][:MAX_LABELS]
    blocks: list[Note | Grid] = [Note(text=_sentence(document))]
    if shown:
        blocks.append(_grid(facts, document, shown))
    return Section(
        id="labels",
        title="Labels to look at again",
        read=(
            "Each training image was classified from the others, without its own label. A label "
            "that this contradicts may be right all the same: look before you change it."
        ),
        blocks=tuple(blocks),
    )


def _sentence(document: Table) -> str:
    judged = figure(document, "judged", SUSPICIOUS)
    wrong = finite(document.get("look_wrong"))
    if not judged:
        return "No label was checked: the classes have too few images."
    if wrong is None:
        return (
            f"The labels were not checked: the answers repeat {percent(document.get('agreement'))} "
            "of them, too few to say which are wrong."
        )
    if not wrong:
        return f"Of {count(judged, 'label')} none looks wrong."
    return f"Of {count(judged, 'label')} {number(wrong, 0)} look wrong."


def _grid(facts: ReleaseFacts, document: Table, shown: Sequence[Table]) -> Grid:
    wrong = finite(document.get("look_wrong")) or 0
    rest = int(wrong) - len(shown)
    return Grid(
        head=("image", "label", "looks like", "probability of the label", "classifier's answer"),
        rows=tuple(_row(facts, image) for image in shown),
        numeric=frozenset({3}),
        title="Labels that look wrong",
        caption=f"{rest:,} more are in suspicious.json." if rest > 0 else "",
        scope=f"train split, n = {figure(document, 'n', SUSPICIOUS):,.0f}",
        style="stacked",
    )


def _row(facts: ReleaseFacts, image: Table) -> tuple[Cell, ...]:
    index = image.get("index")
    label = clean(image.get("label", ""))
    name = clean(image.get("file") or f"image {index}")
    data = facts.data.suspicious_pictures.get(index) if isinstance(index, int) else None
    return (
        Cell(
            text=name,
            gauge=None if data is None else thumbnail(data, f"{name}, labelled {label}"),
        ),
        Cell(text=label),
        Cell(text=clean(image.get("predicted", ""))),
        Cell(text=percent(image.get("probability_of_label"), 1)),
        Cell(text=clean(image.get("answer", ""))),
    )
