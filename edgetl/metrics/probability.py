"""How good the probabilities are, not only the answers: proper scores and calibration."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edgetl.metrics.accuracy import top_answers
from edgetl.metrics.checks import FloatArray, float_matrix, row_chunks
from edgetl.metrics.rows import labelled_rows, logit_rows, probability_rows

# A probability of 0 for the true class costs -log(1e-12) = 27.6 nats, not infinity, so that one
# underflow in float16 does not erase every other image from the mean.
PROBABILITY_FLOOR = 1e-12


def softmax(logits: ArrayLike) -> FloatArray:
    """Probabilities from logits: p_k = exp(z_k) / sum_j exp(z_j), without overflow.

    Args:
        logits: Floating point [n, K], finite.

    Returns:
        float64 [n, K]; rows sum to 1.

    Raises:
        DataError: When the array is not such.

    Example:
        >>> softmax([[2.0, 1.0, -1.0]]).round(4)
        array([[0.7054, 0.2595, 0.0351]])
    """
    matrix = float_matrix(logits, "logits")
    result = np.empty(matrix.shape)
    for rows, chunk in zip(row_chunks(matrix), logit_rows(matrix), strict=True):
        # Differences of float64 extremes may overflow to -inf, whose exponential is the right 0.
        with np.errstate(over="ignore"):
            powers = np.exp(chunk - chunk.max(axis=1, keepdims=True))
        np.divide(powers, powers.sum(axis=1, keepdims=True), out=result[rows])
    return result


def entropy(probabilities: ArrayLike) -> FloatArray:
    """Shannon entropy of each row in nats, -sum_k p_k log p_k, with 0 log 0 = 0.

    Args:
        probabilities: Floating point [n, K].

    Returns:
        float64 [n], from 0 (certain) to log K (uniform).

    Raises:
        DataError: When the array is not such.

    Example:
        >>> entropy([[0.5, 0.5], [1.0, 0.0]]).round(4).tolist()
        [0.6931, 0.0]
    """
    return np.concatenate([_entropy_rows(chunk) for chunk in probability_rows(probabilities)])


def per_image_nll(probabilities: ArrayLike, labels: ArrayLike) -> FloatArray:
    """Negative log-likelihood of each image in nats: -log p_label.

    Probabilities below 1e-12 count as 1e-12 (27.6 nats).

    Args:
        probabilities: Floating point [n, K].
        labels: Integers [n].

    Returns:
        float64 [n].

    Raises:
        DataError: When the arrays are not such, hold NaN, or do not fit together.

    Example:
        >>> per_image_nll([[0.5, 0.5], [1.0, 0.0]], [0, 1]).round(4).tolist()
        [0.6931, 27.631]
    """
    picked = [
        chunk[np.arange(len(own)), own] for chunk, own in labelled_rows(probabilities, labels)
    ]
    # Adding 0 turns -0.0 into 0.0.
    result: FloatArray = -np.log(np.maximum(np.concatenate(picked), PROBABILITY_FLOOR)) + 0.0
    return result


def nll(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Negative log-likelihood, the mean of `per_image_nll`, in nats (also called log loss).

    Args:
        probabilities: Floating point [n, K].
        labels: Integers [n].

    Raises:
        DataError: When the arrays are not such, hold NaN, or do not fit together.

    Example:
        >>> round(nll([[0.9, 0.1], [0.2, 0.8]], [0, 1]), 4)
        0.1643
    """
    return float(per_image_nll(probabilities, labels).mean())


def per_image_brier(probabilities: ArrayLike, labels: ArrayLike) -> FloatArray:
    """Brier score of each image, summed over the classes: sum_k (p_k - [k = label])^2, 0..2.

    Source: Brier, Verification of forecasts expressed in terms of probability, 1950.

    Args:
        probabilities: Floating point [n, K].
        labels: Integers [n].

    Returns:
        float64 [n].

    Raises:
        DataError: When the arrays are not such, hold NaN, or do not fit together.

    Example:
        >>> per_image_brier([[0.5, 0.5], [1.0, 0.0]], [0, 1]).tolist()
        [0.5, 2.0]
    """
    scores = []
    for chunk, own in labelled_rows(probabilities, labels):
        chunk[np.arange(len(own)), own] -= 1.0
        scores.append(np.square(chunk).sum(axis=1))
    return np.concatenate(scores)


def brier(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Brier score, the mean of `per_image_brier`, 0..2.

    Args:
        probabilities: Floating point [n, K].
        labels: Integers [n].

    Raises:
        DataError: When the arrays are not such, hold NaN, or do not fit together.

    Example:
        >>> round(brier([[0.9, 0.1], [0.2, 0.8]], [0, 1]), 4)
        0.05
    """
    return float(per_image_brier(probabilities, labels).mean())


def aurc(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Area under the risk-coverage curve: the mean, over i, of the error rate among the i most
    confident images. Lower is better; confidence that ranks well gives less than the error rate.

    Images of equal confidence have no order: each counts with their common error rate, which is
    the mean over all orders, so that the result does not depend on the order of the data.
    Source: Geifman and El-Yaniv, Selective classification for deep neural networks, 2017.

    Args:
        probabilities: Floating point [n, K].
        labels: Integers [n].

    Returns:
        The area, 0..1.

    Raises:
        DataError: When the arrays are not such, hold NaN, or do not fit together.

    Example:
        >>> round(aurc([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1]), 4)
        0.1111
    """
    confidence, right = top_answers(probabilities, labels)
    order = np.argsort(-confidence)
    sorted_confidence, wrong = confidence[order], ~right[order]
    group = np.cumsum(np.diff(sorted_confidence, prepend=sorted_confidence[0]) != 0)
    expected = (np.bincount(group, wrong) / np.bincount(group))[group]
    return float((np.cumsum(expected) / np.arange(1, len(right) + 1)).mean())


def _entropy_rows(chunk: FloatArray) -> FloatArray:
    # Adding 0 turns -0.0 into 0.0.
    logs = np.log(np.where(chunk > 0, chunk, 1.0))
    result: FloatArray = -(chunk * logs).sum(axis=1) + 0.0
    return result
