"""In which order, and how often, an epoch sees the training images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgetl.train.config import Sampler


def epoch_order(
    labels: NDArray[np.int64], *, sampler: Sampler, seed: int, epoch: int
) -> NDArray[np.int64]:
    """The images of one epoch in their order, a function of its arguments alone.

    ``"shuffle"`` takes each image once. ``"balanced"`` takes as many images, each class with images
    as often as the others (but for one where the number does not divide): images of a rare class
    come several times, and all of them once more before any comes yet once more; of a frequent
    class another random part comes every epoch. Drawing with replacement would give the same
    shares in the mean only.

    Args:
        labels: int64 [n].
        sampler: ``"shuffle"`` or ``"balanced"``.
        seed: The run's.
        epoch: From 1.

    Returns:
        int64 [n], positions.

    Example:
        >>> labels = np.array([0, 0, 0, 0, 0, 1])
        >>> order = epoch_order(labels, sampler="balanced", seed=0, epoch=1)
        >>> sorted(labels[order].tolist())
        [0, 0, 0, 1, 1, 1]
    """
    generator = np.random.default_rng([seed, epoch])
    if sampler == "shuffle":
        return generator.permutation(len(labels))
    present = np.unique(labels)
    share, left = divmod(len(labels), len(present))
    more = set(generator.permutation(present)[:left].tolist())
    chosen = [
        _drawn(np.flatnonzero(labels == label), share + (label in more), generator)
        for label in present.tolist()
    ]
    return generator.permutation(np.concatenate(chosen))


def _drawn(
    members: NDArray[np.int64], count: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    rounds = -(-count // len(members))
    return np.concatenate([generator.permutation(members) for _ in range(rounds)])[:count]
