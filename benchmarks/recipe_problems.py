"""Two problems of transfer: what a network learns first, and what it then learns from few images.

- ``letters-digits``: from rendered letters, 26 classes, to scikit-learn's handwritten digits.
- ``fashion-halves``: from five classes of Fashion-MNIST to the other five.

Each seed draws its own source images, its own target images and its own order of them: with 5, 20
or 100 images a class the smaller set is the head of the larger. Every recipe of a seed sees the
same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgetl.data.dataset import Dataset
from edgetl.data.letters import render_letters
from edgetl.data.sources import open_dataset
from edgetl.data.store import SplitPart

PROBLEMS = ("letters-digits", "fashion-halves")
FASHION = "idx:/usr/share/datasets/fashion-mnist"
FASHION_SOURCE = (0, 1, 3, 5, 8)
"""T-shirt/top, trouser, dress, sandal, bag; the target's are the other five."""

FASHION_NAMES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
MOST_SHOTS = 100
_SOURCE_SEED = 7_000
"""So that no source is drawn with the numbers that draw the target."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many images of a class are drawn."""

    source: int = 300
    fashion_source: int = 1_000
    source_val: int = 20
    val: int = 10
    test: int = 50
    fashion_test: int = 200


QUICK = Sizes(source=4, fashion_source=20, source_val=2, val=2, test=4, fashion_test=4)


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Images of one side, split."""

    train: SplitPart
    val: SplitPart
    classes: tuple[str, ...]
    test: SplitPart | None = None


def source_of(problem: str, seed: int, sizes: Sizes, fashion: str) -> Part:
    """What a network learns first."""
    if problem == "letters-digits":
        drawn = render_letters(sizes.source + sizes.source_val, seed=_SOURCE_SEED + seed)
    else:
        whole = _fashion(fashion, train=True)
        drawn = _of_classes(whole, FASHION_SOURCE)
    rows = _per_class(drawn, np.random.default_rng([_SOURCE_SEED, seed]))
    size = sizes.source if problem == "letters-digits" else sizes.fashion_source
    return Part(
        val=_part(drawn, rows, 0, sizes.source_val),
        train=_part(drawn, rows, sizes.source_val, sizes.source_val + size),
        classes=drawn.classes,
    )


def target_of(problem: str, seed: int, shots: int, sizes: Sizes, fashion: str) -> Part:
    """What it learns then, `shots` images of each class, and what it is tested on."""
    random = np.random.default_rng(seed)
    if problem == "letters-digits":
        whole = open_dataset("builtin:digits")
        rows = _per_class(whole, random)
        test = _part(whole, rows, 0, sizes.test)
        rows = [row[sizes.test :] for row in rows]
    else:
        others = tuple(at for at in range(len(FASHION_NAMES)) if at not in FASHION_SOURCE)
        held = _of_classes(_fashion(fashion, train=False), others)
        test = _part(held, _per_class(held, random), 0, sizes.fashion_test)
        whole = _of_classes(_fashion(fashion, train=True), others)
        rows = _per_class(whole, random)
    return Part(
        val=_part(whole, rows, 0, sizes.val),
        train=_part(whole, rows, sizes.val, sizes.val + shots),
        test=test,
        classes=whole.classes,
    )


def tiled(part: SplitPart, size: int) -> SplitPart:
    """The same images again and again up to `size`, so that every set makes epochs of one length.

    Example:
        >>> part = SplitPart(ids=("a", "b"), labels=np.arange(2), images=np.zeros((2, 4, 4), "u1"))
        >>> tiled(part, 6).labels
        array([0, 1, 0, 1, 0, 1])
    """
    order = np.resize(np.arange(len(part)), size)
    return SplitPart(
        ids=tuple(part.ids[at] for at in order),
        labels=part.labels[order],
        images=part.images[order],
    )


@lru_cache(maxsize=2)
def _fashion(source: str, *, train: bool) -> Dataset:
    """One of the parts that Fashion-MNIST is given in."""
    whole = open_dataset(source, classes=FASHION_NAMES)
    assert whole.given_split is not None
    wanted = "train" if train else "test"
    return whole.subset([at for at, part in enumerate(whole.given_split) if part == wanted])


def _of_classes(dataset: Dataset, kept: Sequence[int]) -> Dataset:
    rows = np.flatnonzero(np.isin(dataset.labels, kept))
    number = {label: at for at, label in enumerate(kept)}
    chosen = dataset.subset(rows)
    return Dataset(
        name=chosen.name,
        images=chosen.images,
        labels=np.array([number[int(label)] for label in chosen.labels], np.int64),
        classes=tuple(dataset.classes[at] for at in kept),
        ids=chosen.ids,
    )


def _per_class(dataset: Dataset, random: np.random.Generator) -> list[np.ndarray]:
    """Of each class its rows, in a random order."""
    labels = range(len(dataset.classes))
    return [random.permutation(np.flatnonzero(dataset.labels == label)) for label in labels]


def _part(dataset: Dataset, rows: Sequence[np.ndarray], begin: int, end: int) -> SplitPart:
    short = min(len(row) for row in rows)
    if short < end:
        raise SystemExit(f"{dataset.name}: a class has {short} images, and {end} are needed")
    # The classes take turns, so that a part of any size is balanced.
    order = np.stack([row[begin:end] for row in rows], axis=1).reshape(-1)
    chosen = dataset.subset(order)
    return SplitPart(ids=chosen.ids, labels=chosen.labels, images=chosen.images)
