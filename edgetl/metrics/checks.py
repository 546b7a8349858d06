"""What a metric accepts: the checks that every metric shares."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.errors import DataError

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ROW_SUM_TOLERANCE = 1e-3
# Runtimes with a fast exponential answer values such as 1.0000001.
VALUE_TOLERANCE = 1e-6
# Half a MiB in float64: a chunk and what is made of it stay in a core's cache.
CHUNK_VALUES = 1 << 16


def as_probabilities(values: ArrayLike, subject: str = "probabilities") -> FloatArray:
    """Probabilities as float64, checked.

    Values up to 1e-6 outside of 0..1 are rounding of the runtime that made them and are
    clipped. Rows are not normalised again: a metric judges what the model answered.

    Args:
        values: Floating point [n, K], n >= 1, K >= 2, finite, in 0..1; each row sums to 1
            within 1e-3 (float16 outputs need that much).
        subject: What to call the array in an error.

    Returns:
        float64 [n, K].

    Raises:
        DataError: When the array is anything else.

    Example:
        >>> as_probabilities(np.array([[0.25, 0.75]], np.float32))
        array([[0.25, 0.75]])
    """
    array = float_matrix(values, subject).astype(np.float64, order="C")
    for rows in row_chunks(array):
        settle_probabilities(array[rows], subject, rows.start)
    return array


def as_labels(labels: ArrayLike, n: int, classes: int) -> IntArray:
    """Labels as int64, checked.

    Args:
        labels: Integers [n], each in 0..classes-1.
        n: How many labels there must be.
        classes: The number of classes.

    Returns:
        int64 [n]; the caller's own array when it is of that type already.

    Raises:
        DataError: When the array is anything else.

    Example:
        >>> as_labels([0, 2], n=2, classes=3)
        array([0, 2])
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "iu" or array.shape != (n,):
        raise DataError(
            "labels",
            got=f"{array.dtype} {list(array.shape)}",
            expected=f"integers [{n}], one per row of the probabilities",
            fix="pass the index of the true class of each input",
        )
    if int(array.min()) < 0 or int(array.max()) >= classes:
        raise DataError(
            "labels",
            got=f"values from {array.min()} to {array.max()}",
            expected=f"values from 0 to {classes - 1}",
            fix="check that labels and probabilities use the same list of classes",
        )
    return array.astype(np.int64, copy=False)


def as_pair(probabilities: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, IntArray]:
    """Probabilities [n, K] and labels [n] that fit together, as float64 and int64.

    Raises:
        DataError: When either is not right, or when they do not fit.
    """
    checked = as_probabilities(probabilities)
    return checked, as_labels(labels, *checked.shape)


def as_logits(values: ArrayLike, subject: str = "logits") -> FloatArray:
    """Logits as float64: floating point [n, K], n >= 1, K >= 2, finite.

    Raises:
        DataError: When the array is anything else.
    """
    array = float_matrix(values, subject).astype(np.float64, order="C")
    for rows in row_chunks(array):
        check_finite(array[rows], subject, rows.start)
    return array


def check_count(subject: str, value: int, *, most: int | None = None) -> None:
    """Refuse what is no integer from 1 to `most`.

    Raises:
        DataError: When it is anything else.
    """
    if isinstance(value, int | np.integer) and value >= 1 and (most is None or value <= most):
        return
    upper = "" if most is None else f" and at most {most}"
    raise DataError(
        subject,
        got=repr(value),
        expected=f"an integer of at least 1{upper}",
        fix=f"pass {subject}={15 if most is None else most}, for example",
    )


def float_matrix(values: ArrayLike, subject: str) -> NDArray[Any]:
    """The array as it is: floating point [n, K], n >= 1, K >= 2; its values are not looked at.

    Raises:
        DataError: When the array is anything else.
    """
    array: NDArray[Any] = np.asarray(values)
    right_shape = array.ndim == 2 and array.shape[0] >= 1 and array.shape[1] >= 2
    if array.dtype.kind != "f" or not right_shape:
        raise DataError(
            subject,
            got=f"{array.dtype} {list(array.shape)}",
            expected="floating point [n, classes], at least one row and two classes",
            fix="pass one row per input, as the classifier answers a batch",
        )
    return array


def row_chunks(matrix: NDArray[Any]) -> Iterator[slice]:
    """Slices that go through the rows of [n, K] in order, few enough at a time for the cache."""
    n, classes = matrix.shape
    step = max(1, CHUNK_VALUES // classes)
    for first in range(0, n, step):
        yield slice(first, min(first + step, n))


def check_finite(chunk: FloatArray, subject: str, first: int) -> tuple[float, float]:
    """The least and the greatest value of some rows; `first` is the number of the first of them.

    Raises:
        DataError: For NaN or infinity.
    """
    # NaN and infinity survive into the least or the greatest, so that two passes are enough.
    low, high = float(chunk.min()), float(chunk.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        _refuse_not_finite(chunk, subject, first)
    return low, high


def settle_probabilities(chunk: FloatArray, subject: str, first: int) -> None:
    """Check some rows of probabilities, and clip what is rounding, in place.

    Raises:
        DataError: When they are no probabilities; `first` is the number of the first row.
    """
    low, high = check_finite(chunk, subject, first)
    if low < -VALUE_TOLERANCE or high > 1.0 + VALUE_TOLERANCE:
        raise DataError(
            subject,
            got=f"values from {low:.6g} to {high:.6g}",
            expected="values from 0 to 1",
            fix="pass probabilities; edgetl.metrics.softmax makes them from logits",
        )
    if low < 0.0 or high > 1.0:
        np.clip(chunk, 0.0, 1.0, out=chunk)
    error = np.abs(chunk.sum(axis=1) - 1.0)
    worst = int(error.argmax())
    if error[worst] > ROW_SUM_TOLERANCE:
        raise DataError(
            subject,
            got=f"row {first + worst} with the sum {chunk[worst].sum():.6g}",
            expected=f"rows that sum to 1 within {ROW_SUM_TOLERANCE:g}",
            fix="pass the output of a softmax over all classes",
        )


def _refuse_not_finite(chunk: FloatArray, subject: str, first: int) -> NoReturn:
    row = first + int(np.argwhere(~np.isfinite(chunk))[0, 0])
    raise DataError(
        subject,
        got=f"NaN or infinity in row {row}",
        expected="finite values",
        fix="find the input for which the model answers so; it cannot be judged",
    )
