"""The dataset card: what a dataset holds, and what is doubtful about it, before anything is run.

Unlike `open_dataset` it does not stop at a picture that cannot be used: it lists them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgetl.data.card_text import card_lines
from edgetl.data.content import content_id, joined_id
from edgetl.data.dataset import Dataset, check_classes
from edgetl.data.listing import Listing, Problem, Progress, look_at, shown
from edgetl.data.near_duplicates import (
    MAX_PAIRS,
    Fingerprint,
    NearPairs,
    fingerprint,
    near_pairs,
)
from edgetl.data.samples import SeveralSamples
from edgetl.data.sources import read_source
from edgetl.errors import DataError
from edgetl.spec import Array

SCHEMA = "edgetl.dataset-card/1"
_MOST_PAIRS = 1000


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """What `dataset_card` found.

    Attributes:
        source: The source as it was asked for.
        kind: ``"pictures"``, ``"tensors"`` or ``"several inputs"``.
        count: Samples that can be used.
        classes: For each class its name and number of samples.
        splits: Samples of each part that the source gives; empty when it gives none.
        slices: Names of the slice columns.
        sizes: ``min``, ``median`` and ``max`` of height and width; of tensors their shapes.
        grey: Share of the pictures whose three channels are equal; None without pictures.
        constant: Places of samples that have one value or colour everywhere.
        copies: Samples whose content another one before them has.
        copies_across: Contents that are in more than one given part.
        conflicts: Contents that have more than one label, each with the places.
        near: Pairs of places of pictures that are nearly but not exactly the same, in different
            parts when parts are given, at most 1,000 of them.
        near_count: The number of these pairs; None when none was judged.
        not_judged: Samples that were not compared for near duplicates: no pictures, too small,
            too flat, or too many.
        unusable: Files that cannot be used, and why.
        skipped: Files that are passed over on purpose.
        refusal: Why `open_dataset` would refuse the rest; None when it would not.
    """

    source: str
    kind: str
    count: int
    classes: tuple[tuple[str, int], ...]
    splits: dict[str, int]
    slices: tuple[str, ...]
    sizes: dict[str, list[int]]
    grey: float | None
    constant: tuple[str, ...]
    copies: int
    copies_across: int
    conflicts: tuple[tuple[str, ...], ...]
    near: tuple[tuple[str, str], ...]
    near_count: int | None
    not_judged: int
    unusable: tuple[Problem, ...]
    skipped: tuple[str, ...]
    refusal: str | None

    @property
    def imbalance(self) -> float | None:
        """Samples of the largest class for each of the smallest; None when that has none."""
        counts = [count for _, count in self.classes]
        least = min(counts, default=0)
        return max(counts) / least if least else None

    def to_json(self) -> dict[str, Any]:
        """Plain data, schema ``edgetl.dataset-card/1``."""
        return {
            "schema": SCHEMA,
            "source": shown(self.source),
            "kind": self.kind,
            "samples": self.count,
            "classes": [
                {
                    "name": shown(name),
                    "samples": count,
                    "share": count / self.count if self.count else 0.0,
                }
                for name, count in self.classes
            ],
            "imbalance": self.imbalance,
            "splits": self.splits,
            "slices": list(self.slices),
            "sizes": self.sizes,
            "grey_share": self.grey,
            "constant": list(self.constant),
            "duplicates": {
                "copies": self.copies,
                "across_splits": self.copies_across,
                "conflicting_labels": [list(places) for places in self.conflicts],
            },
            "near_duplicates": {
                "pairs": self.near_count,
                "listed": [list(pair) for pair in self.near],
                "not_judged": self.not_judged,
            },
            "unusable": [{"file": one.place, "why": one.why} for one in self.unusable],
            "skipped": list(self.skipped),
            "refusal": self.refusal,
        }

    def lines(self) -> list[str]:
        """For a person: text of at most 100 columns, save for the names of files."""
        return card_lines(self.to_json())


def dataset_card(source: str, *, progress: Progress | None = None) -> DatasetCard:
    """Look at every sample of a source once.

    Args:
        source: As in `open_dataset`.
        progress: Called with how many pictures are decoded, and of how many.

    Raises:
        DataError: When the source cannot be opened at all.
        MissingExtraError: As `open_dataset`.

    Example:
        >>> card = dataset_card("builtin:digits")
        >>> card.count, card.copies, card.not_judged
        (1797, 0, 1797)
    """
    read = read_source(source)
    if isinstance(read, Listing):
        looked = look_at(read.entries, lambda _, pixels: _look(pixels), progress)
        usable = [at for at, one in enumerate(looked) if isinstance(one, _Seen)]
        entries = [read.entries[at] for at in usable]
        return _card(
            source,
            read.classes,
            _Table(
                kind="pictures",
                seen=[one for one in looked if isinstance(one, _Seen)],
                labels=[entry.label for entry in entries],
                places=[entry.place for entry in entries],
                splits=[entry.split for entry in entries if entry.split is not None],
                slices=read.slices,
                unusable=(*read.problems, *(one for one in looked if isinstance(one, Problem))),
                skipped=read.skipped,
            ),
        )
    return _card(source, read.classes, _table_of(read))


@dataclass(frozen=True)
class _Seen:
    id: str
    shape: tuple[int, ...]
    constant: bool
    grey: bool | None = None
    print: Fingerprint | None = None


@dataclass(frozen=True, kw_only=True)
class _Table:
    kind: str
    seen: list[_Seen]
    labels: list[int]
    places: list[str]
    splits: Sequence[str]
    slices: tuple[str, ...]
    unusable: tuple[Problem, ...] = ()
    skipped: tuple[str, ...] = ()


def _look(pixels: Array) -> _Seen:
    first = pixels[0, 0]
    grey = pixels.ndim == 2 or bool((pixels == pixels[..., :1]).all())
    return _Seen(
        content_id(pixels),
        pixels.shape[:2],
        bool((pixels == first).all()),
        grey,
        fingerprint(pixels),
    )


def _look_at_tensor(values: Array) -> _Seen:
    return _Seen(content_id(values), values.shape, bool((values == values.flat[0]).all()))


def _look_at_several(parts: dict[str, Array]) -> _Seen:
    seen = {name: _look_at_tensor(part) for name, part in parts.items()}
    constant = all(one.constant for one in seen.values())
    return _Seen(joined_id({name: one.id for name, one in seen.items()}), (), constant)


def _table_of(dataset: Dataset) -> _Table:
    samples = dataset.images
    seen: Iterable[_Seen]
    if isinstance(samples, SeveralSamples):
        kind, seen = "several inputs", map(_look_at_several, samples)
    elif isinstance(samples, np.ndarray) and samples.dtype != np.uint8:
        kind, seen = "tensors", map(_look_at_tensor, samples)
    else:
        kind, seen = "pictures", map(_look, samples)
    given = dataset.given_split or ()
    return _Table(
        kind=kind,
        seen=list(seen),
        labels=dataset.labels.tolist(),
        places=[f"{given[at]} {at}" if given else f"sample {at}" for at in range(len(dataset))],
        splits=given,
        slices=tuple(dataset.slices or ()),
    )


def _card(source: str, classes: tuple[str, ...], table: _Table) -> DatasetCard:
    counts = np.bincount(table.labels, minlength=len(classes)).tolist()
    where: dict[str, list[int]] = {}
    for at, one in enumerate(table.seen):
        where.setdefault(one.id, []).append(at)
    several = [ats for ats in where.values() if len(ats) > 1]
    near, not_judged = _near(table)
    pictures = table.kind == "pictures" and bool(table.seen)
    return DatasetCard(
        source=source,
        kind=table.kind,
        count=len(table.seen),
        classes=tuple(zip(classes, counts, strict=True)),
        splits=dict(Counter(table.splits)),
        slices=table.slices,
        sizes=_sizes([one.shape for one in table.seen]),
        grey=sum(bool(one.grey) for one in table.seen) / len(table.seen) if pictures else None,
        constant=tuple(
            place for place, one in zip(table.places, table.seen, strict=True) if one.constant
        ),
        copies=sum(len(ats) - 1 for ats in several),
        copies_across=sum(len({table.splits[at] for at in ats}) > 1 for ats in several)
        if table.splits
        else 0,
        conflicts=tuple(
            tuple(table.places[at] for at in ats)
            for ats in several
            if len({table.labels[at] for at in ats}) > 1
        ),
        near=tuple((table.places[a], table.places[b]) for a, b in (near.first if near else ())),
        near_count=None if near is None else near.count,
        not_judged=not_judged,
        unusable=table.unusable,
        skipped=table.skipped,
        refusal=_refusal(source, classes, counts),
    )


def _near(table: _Table) -> tuple[NearPairs | None, int]:
    judged = [at for at, one in enumerate(table.seen) if one.print is not None]
    if not judged or len(judged) ** 2 > MAX_PAIRS:
        return None, len(table.seen)
    prints = [one.print for one in table.seen if one.print is not None]
    names = sorted(set(table.splits))
    groups = [names.index(table.splits[at]) for at in judged] if names else None
    number: dict[str, int] = {}
    # Exact copies are counted by themselves.
    contents = [number.setdefault(table.seen[at].id, at) for at in judged]
    found = near_pairs(prints, groups, contents=contents, most=_MOST_PAIRS)
    first = [(judged[a], judged[b]) for a, b in found.first]
    return NearPairs(found.count, first), len(table.seen) - len(judged)


def _sizes(shapes: list[tuple[int, ...]]) -> dict[str, list[int]]:
    if not shapes or len({len(shape) for shape in shapes}) > 1:
        return {}
    table = np.array(shapes)
    # The middle one of each axis, a size that occurs.
    middle = np.sort(table, axis=0)[len(table) // 2]
    rows = {"min": table.min(axis=0), "median": middle, "max": table.max(axis=0)}
    return {name: [int(size) for size in row] for name, row in rows.items()}


def _refusal(source: str, classes: tuple[str, ...], counts: list[int]) -> str | None:
    if not sum(counts):
        return "no sample that can be used"
    try:
        check_classes(classes, source)
    except DataError as error:
        return f"{error.subject}: {error.got}; expected {error.expected}"
    empty = [name for name, count in zip(classes, counts, strict=True) if not count]
    return f"no sample of {', '.join(map(repr, empty[:5]))}" if empty else None
