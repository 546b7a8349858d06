"""Arrays taken a chunk of rows at a time, checked and in float64.

No metric holds a float64 copy of all its input. What a metric answers does not depend on where a
chunk ends: chunks give values of rows, and means and sums are taken over all rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.errors import DataError
from edgetl.metrics.checks import (
    BoolArray,
    FloatArray,
    IntArray,
    as_labels,
    check_finite,
    float_matrix,
    row_chunks,
    settle_probabilities,
)


def probability_rows(
    probabilities: ArrayLike, subject: str = "probabilities"
) -> Iterator[FloatArray]:
    """Probabilities [n, K] as float64 chunks [c, K], each a copy that may be written to.

    Raises:
        DataError: As `edgetl.metrics.checks.as_probabilities`.
    """
    matrix = float_matrix(probabilities, subject)
    for rows in row_chunks(matrix):
        chunk = matrix[rows].astype(np.float64, order="C")
        settle_probabilities(chunk, subject, rows.start)
        yield chunk


def labelled_rows(
    probabilities: ArrayLike, labels: ArrayLike, subject: str = "probabilities"
) -> Iterator[tuple[FloatArray, IntArray]]:
    """Chunks of probabilities [c, K] with their labels [c].

    Raises:
        DataError: When the arrays are not right, hold NaN, or do not fit together.
    """
    matrix = float_matrix(probabilities, subject)
    classes = as_labels(labels, *matrix.shape)
    for rows, chunk in zip(row_chunks(matrix), probability_rows(matrix, subject), strict=True):
        yield chunk, classes[rows]


def paired_rows(
    reference: ArrayLike, candidate: ArrayLike
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Chunks of the reference's and the candidate's probabilities of the same images.

    Raises:
        DataError: When the arrays are not right, hold NaN, or differ in shape.
    """
    ours, theirs = same_shape(reference, candidate, "probabilities")
    return zip(
        probability_rows(ours, "probabilities of the reference"),
        probability_rows(theirs, "probabilities of the candidate"),
        strict=True,
    )


def paired_logit_rows(
    reference: ArrayLike, candidate: ArrayLike
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Chunks of the reference's and the candidate's logits of the same images.

    Raises:
        DataError: When the arrays are not right, hold NaN, or differ in shape.
    """
    ours, theirs = same_shape(reference, candidate, "logits")
    return zip(
        logit_rows(ours, "logits of the reference"),
        logit_rows(theirs, "logits of the candidate"),
        strict=True,
    )


def logit_rows(logits: ArrayLike, subject: str = "logits") -> Iterator[FloatArray]:
    """Logits [n, K] as float64 chunks [c, K], each a copy that may be written to.

    Raises:
        DataError: When the array is not finite floating point [n, K].
    """
    matrix = float_matrix(logits, subject)
    for rows in row_chunks(matrix):
        chunk = matrix[rows].astype(np.float64, order="C")
        check_finite(chunk, subject, rows.start)
        yield chunk


def class_columns(
    probabilities: ArrayLike, labels: ArrayLike
) -> Iterator[tuple[FloatArray, BoolArray]]:
    """Class by class: p_k as float64 [n], a copy, and whether the label is k, bool [n].

    Raises:
        DataError: When the arrays are not right, hold NaN, or do not fit together.
    """
    matrix = float_matrix(probabilities, "probabilities")
    classes = as_labels(labels, *matrix.shape)
    # All of it is checked before any of it is used.
    for _ in probability_rows(matrix):
        pass
    for k in range(matrix.shape[1]):
        column = matrix[:, k].astype(np.float64)
        yield np.clip(column, 0.0, 1.0, out=column), classes == k


def same_shape(
    reference: ArrayLike, candidate: ArrayLike, what: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both arrays as they are.

    Raises:
        DataError: When they are not floating point [n, K], both of one shape.
    """
    ours = float_matrix(reference, f"{what} of the reference")
    theirs = float_matrix(candidate, f"{what} of the candidate")
    if ours.shape != theirs.shape:
        raise DataError(
            f"{what} of the candidate",
            got=f"shape {list(theirs.shape)}",
            expected=f"{list(ours.shape)}, as the reference's",
            fix="predict the same images with the same classes",
        )
    return ours, theirs
