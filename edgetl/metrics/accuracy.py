"""How often the answer is right."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edgetl.metrics.checks import BoolArray, FloatArray, as_labels, check_count, float_matrix
from edgetl.metrics.rows import labelled_rows


def correct(probabilities: ArrayLike, labels: ArrayLike) -> BoolArray:
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
    return top_answers(probabilities, labels)[1]


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


def topk(probabilities: ArrayLike, labels: ArrayLike, k: int) -> float:
    """Top-k accuracy: the share of images whose label is among the k most probable classes, 0..1.

    Among classes that tie, the one with the lowest index comes first, so that k = 1 gives `top1`
    and an image that answers all classes alike is right for labels 0..k-1 only.

    Args:
        probabilities: Floating point [n, K].
        labels: Integers [n].
        k: How many classes, 1..K.

    Returns:
        The share.

    Raises:
        DataError: When the arrays are not such, hold NaN, or do not fit together; when k is not
            in 1..K.

    Example:
        >>> topk([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], [1, 1], 2)
        0.5
    """
    classes = float_matrix(probabilities, "probabilities").shape[1]
    check_count("k", k, most=classes)
    columns = np.arange(classes)
    hits = 0
    for chunk, own in labelled_rows(probabilities, labels):
        picked = chunk[np.arange(len(own)), own][:, None]
        before = (chunk > picked) | ((chunk == picked) & (columns < own[:, None]))
        hits += int((np.count_nonzero(before, axis=1) < k).sum())
    return hits / len(np.asarray(labels))


def recall_per_class(probabilities: ArrayLike, labels: ArrayLike) -> FloatArray:
    """Recall of each class: the share of its images whose most probable class it is.

    Args:
        probabilities: Floating point [n, K].
        labels: Integers [n].

    Returns:
        float64 [K], each 0..1, and NaN for a class without an image: its recall is not known, and
        is neither 0 nor 1. A mean over the array must leave NaN out, as `macro_recall` does.

    Raises:
        DataError: When the arrays are not such, hold NaN, or do not fit together.

    Example:
        >>> recall_per_class([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0]], [0, 1, 1])
        array([1. , 0.5, nan])
    """
    n, classes = float_matrix(probabilities, "probabilities").shape
    right = correct(probabilities, labels)
    own = as_labels(labels, n, classes)
    count = np.bincount(own, minlength=classes)
    hits = np.bincount(own[right], minlength=classes)
    recall: FloatArray = np.full(classes, np.nan)
    np.divide(hits, count, out=recall, where=count > 0)
    return recall


def macro_recall(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Macro recall, or balanced accuracy: the mean recall of the classes that have images, 0..1.

    A class without an image is left out of the mean, as scikit-learn's balanced accuracy does.

    Args:
        probabilities: Floating point [n, K].
        labels: Integers [n].

    Raises:
        DataError: When the arrays are not such, hold NaN, or do not fit together.

    Example:
        >>> macro_recall([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0]], [0, 1, 1])
        0.75
    """
    recall = recall_per_class(probabilities, labels)
    return float(recall[~np.isnan(recall)].mean())


def top_answers(
    probabilities: ArrayLike, labels: ArrayLike, subject: str = "probabilities"
) -> tuple[FloatArray, BoolArray]:
    """The confidence of each answer, float64 [n], and whether it is right, bool [n].

    Raises:
        DataError: When the arrays are not right, hold NaN, or do not fit together.
    """
    confidence, right = [], []
    for chunk, own in labelled_rows(probabilities, labels, subject):
        answer = chunk.argmax(axis=1)
        confidence.append(chunk[np.arange(len(own)), answer])
        right.append(answer == own)
    return np.concatenate(confidence), np.concatenate(right)
