"""How each class fares on val, as plain data for the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl import metrics


def per_class(
    raw_logits: NDArray[np.float32], labels: NDArray[np.int64], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """The figures of each class, before any temperature.

    Args:
        raw_logits: [n, K], finite.
        labels: int64 [n].
        classes: The K names.

    Returns:
        For each class, in order: ``name``; ``images``, how many have it as their label;
        ``recall``, the share of them that are answered so; ``precision``, the share of the answers
        of this class that are right; ``confidence``, the mean of the highest probability over its
        images. What is not known is None: recall and confidence of a class without an image,
        precision of one that is never answered.

    Raises:
        DataError: When the logits are not finite or the labels do not fit them.

    Example:
        >>> logits = np.array([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]], np.float32)
        >>> cat, dog = per_class(logits, np.array([0, 1, 1]), ("cat", "dog"))
        >>> cat["precision"], dog["recall"], dog["images"]
        (0.5, 0.5, 2)
    """
    probabilities = metrics.softmax(raw_logits)
    recall = metrics.recall_per_class(probabilities, labels)
    answers = probabilities.argmax(axis=1)
    images = np.bincount(labels, minlength=len(classes))
    answered = np.bincount(answers, minlength=len(classes))
    right = np.bincount(answers[answers == labels], minlength=len(classes))
    surety = np.bincount(labels, weights=probabilities.max(axis=1), minlength=len(classes))
    return [
        {
            "name": name,
            "images": int(images[at]),
            "recall": float(recall[at]) if images[at] else None,
            "precision": float(right[at] / answered[at]) if answered[at] else None,
            "confidence": float(surety[at] / images[at]) if images[at] else None,
        }
        for at, name in enumerate(classes)
    ]
