"""The inputs in groups, by class and by slice, with how many answers changed in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.gate.predictions import Predictions
from edgetl.report.numbers import clean
from edgetl.stats import clopper_pearson

MAX_VALUES = 100
"""A column with more values than this is a measurement, not a way to slice."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Way:
    """A way to group n inputs: `codes` int64 [n] are indices of `names`."""

    title: str
    codes: NDArray[np.int64]
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The inputs of one class, or of one value of a slice.

    Attributes:
        n: Inputs.
        changed: Those that the two sides answer differently.
        lost, gained: From right to wrong and from wrong to right; 0 without labels.
        low, high: Clopper and Pearson's interval of the share that changed, at 95 %.
    """

    name: str
    n: int
    changed: int
    lost: int
    gained: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """The share of the inputs that changed, 0..1."""
        return self.changed / self.n


def ways_of(reference: Predictions) -> tuple[tuple[Way, ...], tuple[str, ...]]:
    """The ways to group some answers: by class, then by each slice; and the slices left out.

    Example:
        >>> ways, left_out = ways_of(Predictions(
        ...     labels=[0, 1], probabilities=[[0.9, 0.1], [0.2, 0.8]],
        ...     slices={"camera": ["day", "night"]},
        ... ))
        >>> [(way.title, way.names) for way in ways], left_out
        ([('class', ('0', '1')), ('camera', ('day', 'night'))], ())
    """
    names = reference.classes or tuple(str(k) for k in range(reference.k))
    if reference.labels is None:
        answered = reference.probabilities.argmax(axis=1).astype(np.int64)
        ways = [Way(title="class that the reference answers", codes=answered, names=names)]
    else:
        ways = [Way(title="class", codes=reference.labels, names=names)]
    left_out = []
    for column, values in reference.slices.items():
        found, codes = np.unique(values.astype(np.str_), return_inverse=True)
        if len(found) > MAX_VALUES:
            left_out.append(clean(column))
            continue
        texts = tuple(str(value) for value in found)
        ways.append(Way(title=clean(column), codes=codes.astype(np.int64), names=texts))
    return tuple(ways), tuple(left_out)


def groups_of(reference: Predictions, candidate: Predictions, way: Way) -> tuple[Group, ...]:
    """The groups that hold inputs, the largest share of changes first.

    Args:
        reference, candidate: Answers to the same n inputs over the same classes.
        way: How those inputs are grouped.

    Example:
        >>> ours = Predictions(labels=[0, 1], probabilities=[[0.9, 0.1], [0.2, 0.8]])
        >>> theirs = Predictions(labels=[0, 1], probabilities=[[0.4, 0.6], [0.2, 0.8]])
        >>> day = Way(title="light", codes=np.array([0, 1]), names=("day", "night"))
        >>> [(one.name, one.n, one.changed, one.lost) for one in groups_of(ours, theirs, day)]
        [('day', 1, 1, 1), ('night', 1, 0, 0)]
    """
    ours, theirs = (one.probabilities.argmax(axis=1) for one in (reference, candidate))
    changed = ours != theirs
    labels = reference.labels if reference.labels is not None else candidate.labels
    lost, gained = (
        np.zeros_like(changed) if labels is None else changed & (side == labels)
        for side in (ours, theirs)
    )
    found = [
        _group(name, *numbers)
        for name, *numbers in zip(
            way.names,
            *(_sums(way, part) for part in (np.ones_like(changed), changed, lost, gained)),
            strict=True,
        )
        if numbers[0]
    ]
    return tuple(sorted(found, key=lambda group: (-group.share, -group.n)))


def _sums(way: Way, part: NDArray[Any]) -> Sequence[int]:
    sums: list[int] = np.bincount(way.codes[part], minlength=len(way.names)).tolist()
    return sums


def _group(name: str, n: int, changed: int, lost: int, gained: int) -> Group:
    low, high = clopper_pearson(changed, n)
    return Group(name=name, n=n, changed=changed, lost=lost, gained=gained, low=low, high=high)
