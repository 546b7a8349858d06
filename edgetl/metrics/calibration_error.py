"""Binned calibration errors. They are reported and never gated on: their bias is the largest for
the model that is calibrated best (Roelofs et al., arXiv 2012.08668)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edgetl.metrics.accuracy import top_answers
from edgetl.metrics.bins import Scheme, bin_of, sums
from edgetl.metrics.checks import BoolArray, FloatArray, IntArray, check_count
from edgetl.metrics.rows import class_columns, probability_rows

# Confidences this close are simulated together.
_CELLS = 1024


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
    confidence, right = top_answers(probabilities, labels)
    return _weighted_gap(confidence, right, bin_of(confidence, bins, scheme))


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
    confidence, right = top_answers(probabilities, labels)
    count, confidence_sum, right_sum = sums(confidence, right, bin_of(confidence, bins, scheme))
    return float((np.abs(right_sum - confidence_sum) / count).max())


def classwise_ece(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 15, scheme: Scheme = "width"
) -> float:
    """Classwise expected calibration error: the mean over the classes of the binned error of p_k
    against [label = k]. Bins as in `ece`. Source: Kull et al., arXiv 1910.12656.

    A class without an image counts like the others: every p_k given to it is too much.

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
    errors = [
        _weighted_gap(column, hits, bin_of(column, bins, scheme))
        for column, hits in class_columns(probabilities, labels)
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
    confidence, right = top_answers(probabilities, labels)
    count, confidence_sum, right_sum = sums(confidence, right, bin_of(confidence, bins, scheme))
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

    Answers of one bin whose confidences agree to 1/1024 are drawn together, at their mean
    confidence. That leaves the mean of each draw as it is and overstates its variance by less
    than 0.2 %, and a million images cost no more than a thousand.

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
    check_count("draws", draws)
    confidence = np.concatenate([rows.max(axis=1) for rows in probability_rows(probabilities)])
    index = bin_of(confidence, bins, scheme)
    cells, member = np.unique(
        index * (_CELLS + 1) + (confidence * _CELLS).astype(np.int64), return_inverse=True
    )
    count = np.bincount(member)
    total = np.bincount(member, confidence)
    chance = np.minimum(total / count, 1.0)
    random = np.random.default_rng(seed)
    surplus = random.binomial(count, chance, size=(draws, len(cells))) - total
    bin_starts = np.flatnonzero(np.diff(cells // (_CELLS + 1), prepend=-1))
    gaps = np.abs(np.add.reduceat(surplus, bin_starts, axis=1)).sum(axis=1)
    return float(gaps.mean() / len(confidence))


def _weighted_gap(confidence: FloatArray, right: BoolArray, index: IntArray) -> float:
    count, confidence_sum, right_sum = sums(confidence, right, index)
    return float(np.abs(right_sum - confidence_sum).sum() / count.sum())
