"""Two sets of predictions brought to the same rows and columns, or refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import GateError
from edgetl.gate.predictions import Predictions


@dataclass(frozen=True, kw_only=True, eq=False)
class Aligned:
    """Row i of everything is the same input, column k the same class.

    Attributes:
        reference, candidate: float64 [n, K].
        labels: int64 [n].
        classes: The K names, or None where neither side has any.
        slices: Name of a column -> text [n].
        notes: What was changed to get there.
    """

    reference: NDArray[np.float64]
    candidate: NDArray[np.float64]
    labels: NDArray[np.int64]
    classes: tuple[str, ...] | None
    slices: Mapping[str, NDArray[np.str_]]
    notes: tuple[str, ...]


def align(reference: Predictions, candidate: Predictions) -> Aligned:
    """Bring the candidate's predictions to the reference's order of inputs and classes.

    Inputs are matched by id where both have ids; without, both need the same labels in the same
    order, the only evidence left that they are about the same data. Classes are matched by name
    where both have names. Slices may come from either side. Of several copies of an input, by id,
    the first is kept.

    Raises:
        GateError: For other data, other classes, labels or slices that differ, labels that are
            missing, two labels of one input, or fewer samples than classes.
    """
    notes: list[str] = []
    rows: list[int] | None = None
    probabilities, labels = same_classes(reference, candidate, notes)
    if reference.n != candidate.n:
        _refuse(f"{candidate.n} inputs", f"the {reference.n} inputs of the reference")
    if reference.ids is not None and candidate.ids is not None:
        rows = matching_rows(reference.ids, candidate.ids)
        if rows is not None:
            probabilities = probabilities[rows]
            labels = None if labels is None else labels[rows]
            notes.append("the candidate's inputs were reordered by id")
    elif reference.labels is None or labels is None:
        _refuse(
            "no ids on both sides, and no labels on both sides",
            "evidence that both are about the same inputs",
            "store ids (content hashes) with both predictions",
        )
    if reference.labels is not None and labels is not None:
        wrong = np.nonzero(reference.labels != labels)[0]
        if wrong.size:
            _refuse(
                f"other labels than the reference's for {wrong.size} inputs, first row {wrong[0]}",
                "predictions on the same labelled data",
            )
    truth = reference.labels if reference.labels is not None else labels
    if truth is None:
        _refuse(
            "no labels on either side",
            "labels: top-1, NLL and Brier cannot be judged without",
            "add an array 'labels'",
        )
    slices = _slices(reference, candidate, rows)
    kept = _distinct(reference.ids or candidate.ids, truth, notes)
    n = len(truth[kept])
    if n < reference.k:
        _refuse(
            f"{n} inputs for {reference.k} classes",
            "at least as many inputs as classes",
            "judge on more data",
        )
    return Aligned(
        reference=reference.probabilities[kept],
        candidate=probabilities[kept],
        labels=truth[kept],
        classes=reference.classes or candidate.classes,
        slices={name: column[kept] for name, column in slices.items()},
        notes=tuple(notes),
    )


def _distinct(
    ids: tuple[str, ...] | None, labels: NDArray[np.int64], notes: list[str]
) -> NDArray[np.intp] | slice:
    """The first row of each input: a copy is no further evidence."""
    if ids is None:
        return slice(None)
    _, first, group = np.unique(np.array(ids), return_index=True, return_inverse=True)
    if len(first) == len(ids):
        return slice(None)
    torn = np.nonzero(labels != labels[first][group])[0]
    if torn.size:
        _refuse(
            f"one input with two labels: rows {first[group[torn[0]]]} and {torn[0]}, "
            f"id {ids[torn[0]]:.16}",
            "one label for an input",
            "correct the labels or remove the copy",
        )
    notes.append(f"{len(ids) - len(first)} copies of inputs by id were left out")
    return np.sort(first)


def refuse_overlap(tested: Predictions, others: Collection[str] | None, what: str) -> None:
    """Refuse test inputs that were used for something else, by content hash.

    Args:
        tested: The predictions that are about to be judged.
        others: The ids of the other inputs; None when there is nothing to compare with.
        what: What the others are called in an error.

    Raises:
        GateError: For an overlap, or when the tested inputs have no ids to compare.
    """
    if others is None:
        return
    if tested.ids is None:
        _refuse(
            f"predictions without ids, and {what} ids to compare with",
            "ids (content hashes) of the inputs",
            "store ids with the predictions",
        )
    shared = set(tested.ids) & set(others)
    if shared:
        _refuse(
            f"{len(shared)} inputs that are {what} as well, such as {min(shared):.16}",
            f"test inputs that are no {what}",
            "judge on data that nothing was fitted to",
        )


def same_classes(
    reference: Predictions, candidate: Predictions, notes: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
    """The candidate's probabilities and labels in the reference's order of classes."""
    if reference.k != candidate.k:
        _refuse(f"{candidate.k} classes", f"the {reference.k} classes of the reference")
    ours, theirs = reference.classes, candidate.classes
    if ours is None or theirs is None or ours == theirs:
        return candidate.probabilities, candidate.labels
    unknown = sorted(set(theirs) - set(ours))
    if unknown:
        _refuse(
            f"a class {unknown[0]!r} that the reference does not have",
            "the same classes by name",
            "use one spelling of the class names in both",
        )
    column = {name: index for index, name in enumerate(theirs)}
    position = {name: index for index, name in enumerate(ours)}
    notes.append("the candidate's classes were reordered by name")
    probabilities = candidate.probabilities[:, [column[name] for name in ours]]
    if candidate.labels is None:
        return probabilities, None
    return probabilities, np.array([position[name] for name in theirs])[candidate.labels]


def _slices(
    reference: Predictions, candidate: Predictions, rows: list[int] | None
) -> dict[str, NDArray[np.str_]]:
    """The columns of both sides as text, in the reference's order of inputs."""
    found = {name: column.astype(np.str_) for name, column in reference.slices.items()}
    for name, column in candidate.slices.items():
        text = (column if rows is None else column[rows]).astype(np.str_)
        if not np.array_equal(found.setdefault(name, text), text):
            _refuse(
                f"other values of the slice column {name!r} than the reference's",
                "the same slices of the same inputs",
            )
    return found


def matching_rows(ours: tuple[str, ...], theirs: tuple[str, ...]) -> list[int] | None:
    """Where each of our inputs lies among theirs; None when the order is the same already."""
    if ours == theirs:
        return None
    missing = set(ours) ^ set(theirs)
    if missing:
        _refuse(
            f"other inputs: {len(missing)} ids are on one side only, such as {min(missing):.16}",
            "predictions on the same inputs",
        )
    if len(set(ours)) != len(ours) or len(set(theirs)) != len(theirs):
        _refuse(
            "inputs in another order, and one id several times",
            "ids that say which row is which",
            "store both predictions in the same order",
        )
    row = {identity: index for index, identity in enumerate(theirs)}
    return [row[identity] for identity in ours]


def _refuse(
    got: str, expected: str, fix: str = "predict the same data with reference and candidate"
) -> NoReturn:
    raise GateError("predictions to judge", got=got, expected=expected, fix=fix)
