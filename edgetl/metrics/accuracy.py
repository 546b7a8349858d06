"""How often the answer is right."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.metrics.checks import as_pair


def correct(probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.bool_]:
    """Whether the class with the highest probability is the label, image by image.

    Among classes that tie, the one with the lowest index is the answer.

    Args:
        probabilities: Floating point [n, K].
        labels: Integers [n].

    Returns:
        bool [n].

    Raises:
        DataError: When the arrays are not such, hold NaN, or do not fit together.

    Example:
        >>> correct([[0.9, 0.1], [0.5, 0.5]], [0, 1])
        array([ True, False])
    """
    checked, classes = as_pair(probabilities, labels)
    result: NDArray[np.bool_] = checked.argmax(axis=1) == classes
    return result


def top1(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Top-1 accuracy: the share of images whose most probable class is the label, 0..1.

    Args:
        probabilities: Floating point [n, K].
        labels: Integers [n].

    Returns:
        The share of right answers.

    Raises:
        DataError: When the arrays are not such, hold NaN, or do not fit together.

    Example:
        >>> top1([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], [0, 1, 1, 1])
        0.75
    """
    return float(correct(probabilities, labels).mean())
