"""Binned calibration errors. They are reported and never gated on: their bias is the largest for
the model that is calibrated best (Roelofs et al., arXiv 2012.08668)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from edgetl.errors import DataError
from edgetl.metrics.checks import FloatArray, IntArray, as_pair, as_probabilities

Scheme = Literal["width", "mass"]


def ece(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 15, scheme: Scheme = "width"
) -> float:
    """Expected calibration error of the top answer: sum_b n_b/n |accuracy_b - confidence_b|.

    Bins are [low, high), the last one closed, computed in float64: confidence 1.0 is in the last
    bin. With `scheme` "width" the edges are k/bins; with "mass" they are the sorted confidences
    at positions floor(k n / bins), so equal confidences stay in one bin and the result does not
    depend on the order of the data. Source: Guo et al., arXiv 1706.04599.

    Args:
        probabilities: Floating point [n, K].
        labels: Integers [n].
        bins: How many bins, at least 1.
        scheme: "width" for bins of equal width, "mass" for bins of equally many images.

    Returns:
        The error, 0..1.

    Raises:
        DataError: When the arrays are not such, hold NaN, or do not fit together; when there is
            no such scheme or number of bins.

    Example:
        >>> round(ece([[0.9, 0.1], [0.8, 0.2]], [0, 1], bins=10), 4)
        0.45
    """
    confidence, right = _top(probabilities, labels)
    return _weighted_gap(confidence, right, _bin_of(confidence, bins, scheme))


def mce(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 15, scheme: Scheme = "width"
) -> float:
    """Maximum calibration error: the largest |accuracy_b - confidence_b| of a bin with images.

    Bins as in `ece`. A bin of a single image often decides it. Source: Guo et al., arXiv
    1706.04599.

    Args:
        probabilities: Floating point [n, K].
        labels: Integers [n].
        bins: How many bins, at least 1.
        scheme: "width" or "mass".

    Returns:
        The error, 0..1.

    Raises:
        DataError: As for `ece`.

    Example:
        >>> round(mce([[0.9, 0.1], [0.8, 0.2]], [0, 1], bins=10), 4)
        0.8
    """
    confidence, right = _top(probabilities, labels)
    count, confidence_sum, right_sum = _sums(confidence, right, _bin_of(confidence, bins, scheme))
    return float((np.abs(right_sum - confidence_sum) / count).max())


def classwise_ece(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 15, scheme: Scheme = "width"
) -> float:
    """Classwise expected calibration error: the mean over the classes of the binned error of p_k
    against [label = k]. Bins as in `ece`. Source: Kull et al., arXiv 1910.12656.

    Args:
        probabilities: Floating point [n, K].
        labels: Integers [n].
        bins: How many bins, at least 1.
        scheme: "width" or "mass".

    Returns:
        The error, 0..1.

    Raises:
        DataError: As for `ece`.

    Example:
        >>> round(classwise_ece([[0.9, 0.1], [0.8, 0.2]], [0, 1], bins=10), 4)
        0.45
    """
    checked, classes = as_pair(probabilities, labels)
    errors = [
        _weighted_gap(column, (classes == k).astype(np.float64), _bin_of(column, bins, scheme))
        for k, column in enumerate(checked.T)
    ]
    return float(np.mean(errors))


def debiased_l2(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 15, scheme: Scheme = "mass"
) -> float:
    """Debiased L2 calibration error of the top answer: the root of
    sum_b n_b/n [(accuracy_b - confidence_b)^2 - accuracy_b (1 - accuracy_b) / (n_b - 1)].

    A negative sum counts as 0, and a bin of one image, whose variance is unknown, adds nothing.
    Bins as in `ece`. Source: Kumar, Liang and Ma, arXiv 1909.10155.

    Args:
        probabilities: Floating point [n, K].
        labels: Integers [n].
        bins: How many bins, at least 1.
        scheme: "mass" (the source's choice) or "width".

    Returns:
        The error, 0..1.

    Raises:
        DataError: As for `ece`.

    Example:
        >>> round(debiased_l2([[0.9, 0.1]] * 4, [1, 1, 1, 0], bins=1), 4)
        0.6
    """
    confidence, right = _top(probabilities, labels)
    count, confidence_sum, right_sum = _sums(confidence, right, _bin_of(confidence, bins, scheme))
    accuracy = right_sum / count
    bias = accuracy * (1.0 - accuracy) / np.maximum(count - 1.0, 1.0)
    square = np.where(count > 1, np.square(accuracy - confidence_sum / count) - bias, 0.0)
    return float(np.sqrt(max(0.0, (count * square).sum() / count.sum())))


def ece_if_calibrated(
    probabilities: ArrayLike,
    *,
    bins: int = 15,
    scheme: Scheme = "width",
    draws: int = 200,
    seed: int = 0,
) -> float:
    """The ECE that these very confidences would show if they were perfectly calibrated.

    Each draw makes an answer right with the probability that its confidence states, and the
    result is the mean ECE of the draws. An ECE is read beside it: its bias at this n. Source:
    the consistency resampling of Broecker and Smith, 2007.

    Args:
        probabilities: Floating point [n, K].
        bins: How many bins, at least 1.
        scheme: "width" or "mass".
        draws: How many simulated sets of answers, at least 1.
        seed: Seed of the simulation.

    Returns:
        The mean error, 0..1.

    Raises:
        DataError: As for `ece`, and for fewer than one draw.

    Example:
        >>> ece_if_calibrated([[1.0, 0.0]] * 5)
        0.0
    """
    confidence = as_probabilities(probabilities).max(axis=1)
    if draws < 1:
        raise DataError("draws", got=str(draws), expected="at least 1", fix="pass draws=200")
    index = _bin_of(confidence, bins, scheme)
    random = np.random.default_rng(seed)
    errors = [
        _weighted_gap(confidence, (random.random(len(confidence)) < confidence) * 1.0, index)
        for _ in range(draws)
    ]
    return float(np.mean(errors))


def _top(probabilities: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, FloatArray]:
    checked, classes = as_pair(probabilities, labels)
    right = (checked.argmax(axis=1) == classes).astype(np.float64)
    return checked.max(axis=1), right


def _bin_of(confidence: FloatArray, bins: int, scheme: Scheme) -> IntArray:
    if bins < 1:
        raise DataError("bins", got=str(bins), expected="at least 1", fix="pass bins=15")
    steps = np.arange(1, bins)
    if scheme == "width":
        inner = steps / bins
    elif scheme == "mass":
        inner = np.sort(confidence)[steps * len(confidence) // bins]
    else:
        raise DataError(
            "scheme", got=repr(scheme), expected="'width' or 'mass'", fix="pass one of the two"
        )
    return np.searchsorted(inner, confidence, side="right").astype(np.int64)


def _sums(
    confidence: FloatArray, right: FloatArray, index: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Per bin that has images: their number, the sum of confidences, the number of right ones."""
    count = np.bincount(index).astype(np.float64)
    used = count > 0
    confidence_sum = np.bincount(index, confidence).astype(np.float64)
    right_sum = np.bincount(index, right).astype(np.float64)
    return count[used], confidence_sum[used], right_sum[used]


def _weighted_gap(confidence: FloatArray, right: FloatArray, index: IntArray) -> float:
    count, confidence_sum, right_sum = _sums(confidence, right, index)
    return float(np.abs(right_sum - confidence_sum).sum() / count.sum())
