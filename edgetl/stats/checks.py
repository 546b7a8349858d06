"""What a statistic accepts: the checks that every statistic shares."""

from __future__ import annotations

import math
import operator
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.errors import DataError


def check_confidence(confidence: float) -> None:
    """Refuse a confidence that is not between 0 and 1.

    Raises:
        DataError: For 0, 1, anything outside, and NaN.
    """
    check_open_unit("confidence", confidence, "pass 0.95 for 95 %")


def check_open_unit(subject: str, value: float, fix: str) -> None:
    """Refuse a number that is not between 0 and 1, both excluded.

    Raises:
        DataError: For 0, 1, anything outside, and NaN.
    """
    if not 0.0 < value < 1.0:
        raise DataError(subject, got=str(value), expected="a number between 0 and 1", fix=fix)


def check_counts(**counts: int) -> None:
    """Refuse counts that are not whole numbers of at least 0.

    Raises:
        DataError: For a negative, fractional or missing count.
    """
    for name, count in counts.items():
        try:
            whole = operator.index(count)
        except TypeError:
            whole = -1
        if whole < 0:
            raise DataError(
                f"count {name}",
                got=repr(count),
                expected="a whole number, at least 0",
                fix="count images, not rates",
            )


def check_total(subject: str, part: int, n: int) -> None:
    """Refuse a total below 1, or below the part of it that was counted.

    Raises:
        DataError: When n < 1 or part > n.
    """
    if n < 1 or part > n:
        raise DataError(
            subject,
            got=f"{part} of {n}",
            expected="at least one image, and no part larger than the whole",
            fix="pass n, the number of all images that both sides answered",
        )


def as_sample(values: ArrayLike, subject: str) -> NDArray[np.float64]:
    """A sample as float64 [n], n >= 2, finite.

    Raises:
        DataError: When it is anything else.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size < 2:
        raise DataError(
            subject,
            got=f"shape {list(array.shape)}",
            expected="one dimension with at least two values",
            fix="pass one value per image or block",
        )
    if not np.isfinite(array).all():
        raise DataError(
            subject,
            got="NaN or infinity",
            expected="finite values",
            fix="find the input that produced it; it cannot be judged",
        )
    return array


def normal_quantile(probability: float) -> float:
    """The standard normal quantile, from the standard library (Wichura's AS 241).

    Example:
        >>> round(normal_quantile(0.975), 6)
        1.959964
    """
    return NormalDist().inv_cdf(probability)


def check_finite(subject: str, value: float) -> None:
    """Refuse NaN and infinity.

    Raises:
        DataError: When the number is not finite.
    """
    if not math.isfinite(value):
        raise DataError(
            subject,
            got=str(value),
            expected="a finite number",
            fix="estimate it from predictions without NaN",
        )


def check_positive(subject: str, value: float) -> None:
    """Refuse a number that is not finite and above 0.

    Raises:
        DataError: For 0, a negative number, NaN and infinity.
    """
    if not 0.0 < value < math.inf:
        raise DataError(
            subject,
            got=str(value),
            expected="a finite number above 0",
            fix="no finite sample shows that something is exactly nothing; allow a little",
        )
