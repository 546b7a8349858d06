"""The bins of confidence that binned errors share."""

from __future__ import annotations

from typing import Literal

import numpy as np

from edgetl.errors import DataError
from edgetl.metrics.checks import BoolArray, FloatArray, IntArray, check_count

Scheme = Literal["width", "mass"]


def bin_of(confidence: FloatArray, bins: int, scheme: Scheme) -> IntArray:
    """The bin of each confidence, as `edgetl.metrics.ece` describes them.

    Args:
        confidence: float64 [n], each 0..1.
        bins: How many bins, at least 1.
        scheme: "width" or "mass".

    Returns:
        int64 [n], each 0..bins-1.

    Raises:
        DataError: When there is no such scheme or number of bins.
    """
    check_count("bins", bins)
    steps = np.arange(1, bins)
    if scheme == "width":
        inner = steps / bins
    elif scheme == "mass":
        inner = np.sort(confidence)[steps * len(confidence) // bins]
    else:
        raise DataError(
            "scheme", got=repr(scheme), expected="'width' or 'mass'", fix="pass one of the two"
        )
    return np.searchsorted(inner, confidence, side="right").astype(np.int64, copy=False)


def sums(
    confidence: FloatArray, right: BoolArray, index: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Per bin that has images: their number, the sum of confidences, the number of right ones."""
    count = np.bincount(index).astype(np.float64)
    used = count > 0
    confidence_sum = np.bincount(index, confidence).astype(np.float64)
    right_sum = np.bincount(index, right).astype(np.float64)
    return count[used], confidence_sum[used], right_sum[used]
