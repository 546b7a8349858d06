"""How far a candidate's answers are from the reference's, on the same images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from edgetl.metrics.accuracy import top_answers
from edgetl.metrics.checks import BoolArray, FloatArray, check_count, float_matrix
from edgetl.metrics.probability import PROBABILITY_FLOOR
from edgetl.metrics.rows import paired_rows, same_shape


def flips(reference: ArrayLike, candidate: ArrayLike) -> int:
    """How many images change their answer: the count of images whose top classes differ.

    Divide by n for the rate. Among classes that tie, the one with the lowest index is the
    answer. Source: Dutta et al., arXiv 2407.09141.

    Args:
        reference: Probabilities of the reference, floating point [n, K].
        candidate: Probabilities of the candidate on the same images, floating point [n, K].

    Returns:
        The count, 0..n.

    Raises:
        DataError: When the arrays are not such, hold NaN, or differ in shape.

    Example:
        >>> flips([[0.9, 0.1], [0.6, 0.4]], [[0.8, 0.2], [0.4, 0.6]])
        1
    """
    return sum(
        int((p.argmax(axis=1) != q.argmax(axis=1)).sum())
        for p, q in paired_rows(reference, candidate)
    )


def negative_flips(reference: ArrayLike, candidate: ArrayLike, labels: ArrayLike) -> int:
    """How many images the reference gets right and the candidate wrong.

    Divide by n for the negative flip rate. Source: Yan et al., arXiv 2011.09161.

    Args:
        reference: Probabilities of the reference, floating point [n, K].
        candidate: Probabilities of the candidate on the same images, floating point [n, K].
        labels: Integers [n].

    Returns:
        The count, 0..n: the c of `paired_counts`.

    Raises:
        DataError: When the arrays are not such, hold NaN, or do not fit together.

    Example:
        >>> negative_flips([[0.9, 0.1], [0.6, 0.4]], [[0.8, 0.2], [0.4, 0.6]], [0, 0])
        1
    """
    return paired_counts(reference, candidate, labels)[2]


def kl(reference: ArrayLike, candidate: ArrayLike) -> float:
    """Mean Kullback-Leibler divergence in nats: sum_k p_k log(p_k / q_k), p the reference's.

    Probabilities below 1e-12 count as 1e-12 inside the logarithm. Source: Kullback and Leibler,
    On information and sufficiency, 1951.

    Args:
        reference: Probabilities of the reference, floating point [n, K].
        candidate: Probabilities of the candidate on the same images, floating point [n, K].

    Returns:
        The mean over the images; 0 when both answer alike.

    Raises:
        DataError: When the arrays are not such, hold NaN, or differ in shape.

    Example:
        >>> round(kl([[0.5, 0.5]], [[0.25, 0.75]]), 4)
        0.1438
    """
    return _mean(reference, candidate, _kl_rows)


def tv(reference: ArrayLike, candidate: ArrayLike) -> float:
    """Mean total variation distance: sum_k |p_k - q_k| / 2.

    The most by which the two can differ in the probability of any set of classes.

    Args:
        reference: Probabilities of the reference, floating point [n, K].
        candidate: Probabilities of the candidate on the same images, floating point [n, K].

    Returns:
        The mean over the images, 0..1.

    Raises:
        DataError: When the arrays are not such, hold NaN, or differ in shape.

    Example:
        >>> tv([[0.5, 0.5]], [[0.25, 0.75]])
        0.25
    """
    return _mean(reference, candidate, _tv_rows)


def js(reference: ArrayLike, candidate: ArrayLike) -> float:
    """Mean Jensen-Shannon divergence in nats: KL(p, m) / 2 + KL(q, m) / 2, with m = (p + q) / 2.

    Symmetric, and finite without a floor: 0 log 0 = 0, and where m is 0 so are p and q. The
    divergence, not its square root (the distance, which scipy's `jensenshannon` gives). Source:
    Lin, Divergence measures based on the Shannon entropy, 1991.

    Args:
        reference: Probabilities of the reference, floating point [n, K].
        candidate: Probabilities of the candidate on the same images, floating point [n, K].

    Returns:
        The mean over the images, 0..log 2.

    Raises:
        DataError: When the arrays are not such, hold NaN, or differ in shape.

    Example:
        >>> round(js([[0.5, 0.5]], [[0.25, 0.75]]), 4)
        0.0338
    """
    return _mean(reference, candidate, _js_rows)


def topk_overlap(reference: ArrayLike, candidate: ArrayLike, k: int) -> float:
    """Mean share of the k most probable classes that both name, in whatever order.

    Among classes that tie, the one with the lowest index comes first.

    Args:
        reference: Probabilities of the reference, floating point [n, K].
        candidate: Probabilities of the candidate on the same images, floating point [n, K].
        k: How many classes, 1..K; for k = 1 it is 1 minus the flip rate.

    Returns:
        The mean over the images, 0..1.

    Raises:
        DataError: When the arrays are not such, hold NaN, or differ in shape; when k is not in
            1..K.

    Example:
        >>> topk_overlap([[0.5, 0.3, 0.2]], [[0.5, 0.2, 0.3]], 2)
        0.5
    """
    n, classes = float_matrix(reference, "probabilities of the reference").shape
    check_count("k", k, most=classes)
    shared = sum(
        int(np.count_nonzero(_top_set(p, k) & _top_set(q, k)))
        for p, q in paired_rows(reference, candidate)
    )
    return float(shared / (k * n))


def paired_counts(
    reference: ArrayLike, candidate: ArrayLike, labels: ArrayLike
) -> tuple[int, int, int, int]:
    """The paired table of right answers, in the order that `edgetl.stats.newcombe` takes.

    Args:
        reference: Probabilities of the reference, floating point [n, K].
        candidate: Probabilities of the candidate on the same images, floating point [n, K].
        labels: Integers [n].

    Returns:
        (both right, b = only the candidate right, c = only the reference right, neither right);
        they sum to n.

    Raises:
        DataError: When the arrays are not such, hold NaN, or do not fit together.

    Example:
        >>> paired_counts([[0.9, 0.1], [0.6, 0.4]], [[0.8, 0.2], [0.4, 0.6]], [0, 0])
        (1, 0, 1, 0)
    """
    ours, theirs = same_shape(reference, candidate, "probabilities")
    _, reference_right = top_answers(ours, labels, "probabilities of the reference")
    _, candidate_right = top_answers(theirs, labels, "probabilities of the candidate")
    return (
        int((reference_right & candidate_right).sum()),
        int((~reference_right & candidate_right).sum()),
        int((reference_right & ~candidate_right).sum()),
        int((~reference_right & ~candidate_right).sum()),
    )


def _mean(
    reference: ArrayLike,
    candidate: ArrayLike,
    rows: Callable[[FloatArray, FloatArray], FloatArray],
) -> float:
    values = [rows(p, q) for p, q in paired_rows(reference, candidate)]
    return float(np.concatenate(values).mean())


def _kl_rows(p: FloatArray, q: FloatArray) -> FloatArray:
    ratio = np.maximum(p, PROBABILITY_FLOOR) / np.maximum(q, PROBABILITY_FLOOR)
    result: FloatArray = (p * np.log(ratio)).sum(axis=1)
    return result


def _tv_rows(p: FloatArray, q: FloatArray) -> FloatArray:
    result: FloatArray = np.abs(p - q).sum(axis=1) / 2.0
    return result


def _js_rows(p: FloatArray, q: FloatArray) -> FloatArray:
    # (p + q), not its half: the half of the least float64 is 0.
    total = p + q
    # Rounding may leave an answer of two like rows a hair below 0.
    return np.maximum((_part(p, total) + _part(q, total)) / 2.0, 0.0)


def _part(p: FloatArray, total: FloatArray) -> FloatArray:
    ratio = np.divide(2.0 * p, total, out=np.ones_like(p), where=p > 0)
    result: FloatArray = (p * np.log(ratio)).sum(axis=1)
    return result


def _top_set(p: FloatArray, k: int) -> BoolArray:
    """Which classes are among the k most probable: k of each row."""
    least = np.partition(p, -k, axis=1)[:, -k, None]
    above = p > least
    tied = p == least
    room = k - np.count_nonzero(above, axis=1)
    # Where more classes tie for the last places than there are, the lowest indices take them.
    crowded = np.count_nonzero(tied, axis=1) > room
    tied[crowded] &= np.cumsum(tied[crowded], axis=1) <= room[crowded, None]
    result: BoolArray = above | tied
    return result
