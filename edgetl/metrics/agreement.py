"""How far a candidate's answers are from the reference's, on the same images."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edgetl.errors import DataError
from edgetl.metrics.accuracy import correct
from edgetl.metrics.checks import FloatArray, as_probabilities
from edgetl.metrics.probability import PROBABILITY_FLOOR


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
    ours, theirs = _same_shape(reference, candidate)
    return int((ours.argmax(axis=1) != theirs.argmax(axis=1)).sum())


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
    p, q = _same_shape(reference, candidate)
    ratio = np.log(np.maximum(p, PROBABILITY_FLOOR)) - np.log(np.maximum(q, PROBABILITY_FLOOR))
    return float((p * ratio).sum(axis=1).mean())


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
    ours, theirs = _same_shape(reference, candidate)
    reference_right = correct(ours, labels)
    candidate_right = correct(theirs, labels)
    return (
        int((reference_right & candidate_right).sum()),
        int((~reference_right & candidate_right).sum()),
        int((reference_right & ~candidate_right).sum()),
        int((~reference_right & ~candidate_right).sum()),
    )


def _same_shape(reference: ArrayLike, candidate: ArrayLike) -> tuple[FloatArray, FloatArray]:
    ours = as_probabilities(reference, "probabilities of the reference")
    theirs = as_probabilities(candidate, "probabilities of the candidate")
    if ours.shape != theirs.shape:
        raise DataError(
            "probabilities of the candidate",
            got=f"shape {list(theirs.shape)}",
            expected=f"{list(ours.shape)}, as the reference's",
            fix="predict the same images with the same classes",
        )
    return ours, theirs
