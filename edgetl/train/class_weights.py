"""How much an image of each class counts in the loss, so that rare classes are learnt too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.errors import ConfigError, DataError
from edgetl.train.config import ClassWeights

BETA = 0.999
"""Of the effective number of samples: what Cui et al. found best for ImageNet and iNaturalist."""

_SHOWN = 5


def class_counts(labels: ArrayLike, classes: int) -> NDArray[np.int64]:
    """How many images each class has.

    Args:
        labels: Integers [n], each in 0..classes-1.
        classes: How many there are, those without an image included.

    Returns:
        int64 [classes].

    Example:
        >>> class_counts([0, 2, 2], 3)
        array([1, 0, 2])
    """
    return np.bincount(np.asarray(labels, np.int64), minlength=classes).astype(np.int64)


def class_weights(
    counts: NDArray[np.int64], kind: ClassWeights, *, beta: float = BETA
) -> NDArray[np.float64] | None:
    """One weight a class; over the training images their mean is 1.

    ``"balanced"`` is n / (K n_c), so that each class weighs the same in all (King and Zeng 2001;
    scikit-learn's ``class_weight="balanced"``). ``"effective"`` is in proportion to
    (1 - beta) / (1 - beta^n_c), the inverse of the class's effective number of samples (Cui et al.
    2019, arXiv:1901.05555): the more images a class has, the less a further one adds. The paper
    scales these to the sum K; here the mean over the images is 1 for both kinds, so that a learning
    rate means the same with weights as without.

    Args:
        counts: int64 [K], the training images of each class.
        kind: ``"none"``, ``"balanced"`` or ``"effective"``.
        beta: 0 up to, not including, 1; 0 weighs all images alike, near 1 is ``"balanced"``.

    Returns:
        float64 [K]; None for ``"none"``.

    Raises:
        DataError: When a class has no training image: no weight makes up for that.
        ConfigError: For a beta outside of 0..1.

    Example:
        >>> class_weights(np.array([30, 10]), "balanced").round(4)
        array([0.6667, 2.    ])
    """
    if kind == "none":
        return None
    if not 0.0 <= beta < 1.0:
        raise ConfigError(
            "beta", got=repr(beta), expected="from 0, below 1", fix="take one such as 0.999"
        )
    empty = np.flatnonzero(counts <= 0)
    if len(empty):
        named = ", ".join(str(one) for one in empty[:_SHOWN])
        more = f" and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else ""
        raise DataError(
            f"class_weights = '{kind}'",
            got=f"no training image of class {named}{more} (counted from 0)",
            expected="an image of every class",
            fix="add images of the class, or set class_weights = 'none'",
        )
    size = counts.astype(np.float64)
    number = size if kind == "balanced" else (1.0 - beta**size) / (1.0 - beta)
    weights: NDArray[np.float64] = 1.0 / number
    weights *= size.sum() / (weights * size).sum()
    return weights


def describe_class_weights(
    counts: NDArray[np.int64], kind: ClassWeights, classes: Sequence[str]
) -> dict[str, Any]:
    """The counts and the weights as plain data, for the history.

    Args:
        counts, kind: As `class_weights`.
        classes: The K names.

    Returns:
        ``kind``; ``imbalance``, the largest class's images over the smallest's (None when that
        has none); and in ``classes`` each one's name, images and weight (1 for ``"none"``).

    Raises:
        DataError: As `class_weights`.

    Example:
        >>> described = describe_class_weights(np.array([30, 10]), "balanced", ("cat", "dog"))
        >>> described["imbalance"], described["classes"][1]
        (3.0, {'name': 'dog', 'images': 10, 'weight': 2.0})
    """
    weights = class_weights(counts, kind)
    rows = np.ones(len(counts)) if weights is None else weights
    least = int(counts.min())
    return {
        "kind": kind,
        **({"beta": BETA} if kind == "effective" else {}),
        "imbalance": float(counts.max()) / least if least else None,
        "classes": [
            {"name": name, "images": images, "weight": weight}
            for name, images, weight in zip(classes, counts.tolist(), rows.tolist(), strict=True)
        ],
    }
