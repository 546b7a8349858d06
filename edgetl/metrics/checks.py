"""What a metric accepts: the checks that every metric shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.errors import DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ROW_SUM_TOLERANCE = 1e-3
# Runtimes with a fast exponential answer values such as 1.0000001.
VALUE_TOLERANCE = 1e-6


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
    array = _finite_matrix(values, subject)
    low, high = float(array.min()), float(array.max())
    if low < -VALUE_TOLERANCE or high > 1.0 + VALUE_TOLERANCE:
        raise DataError(
            subject,
            got=f"values from {low:.6g} to {high:.6g}",
            expected="values from 0 to 1",
            fix="pass probabilities; edgetl.metrics.softmax makes them from logits",
        )
    array = np.clip(array, 0.0, 1.0)
    error = np.abs(array.sum(axis=1) - 1.0)
    worst = int(error.argmax())
    if error[worst] > ROW_SUM_TOLERANCE:
        raise DataError(
            subject,
            got=f"row {worst} with the sum {array[worst].sum():.6g}",
            expected=f"rows that sum to 1 within {ROW_SUM_TOLERANCE:g}",
            fix="pass the output of a softmax over all classes",
        )
    return array


def as_labels(labels: ArrayLike, n: int, classes: int) -> IntArray:
    """Labels as int64, checked.

    Args:
        labels: Integers [n], each in 0..classes-1.
        n: How many labels there must be.
        classes: The number of classes.

    Returns:
        int64 [n].

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
    return array.astype(np.int64)


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
    return _finite_matrix(values, subject)


def _finite_matrix(values: ArrayLike, subject: str) -> FloatArray:
    array: NDArray[Any] = np.asarray(values)
    right_shape = array.ndim == 2 and array.shape[0] >= 1 and array.shape[1] >= 2
    if array.dtype.kind != "f" or not right_shape:
        raise DataError(
            subject,
            got=f"{array.dtype} {list(array.shape)}",
            expected="floating point [n, classes], at least one row and two classes",
            fix="pass one row per input, as the classifier answers a batch",
        )
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise DataError(
            subject,
            got=f"NaN or infinity in row {row}",
            expected="finite values",
            fix="find the input for which the model answers so; it cannot be judged",
        )
    return array.astype(np.float64)
