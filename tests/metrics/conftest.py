from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Predictions = tuple[NDArray[np.float64], NDArray[np.int64]]


@pytest.fixture
def predict() -> Callable[..., Predictions]:
    """Makes seeded predictions of a fairly good, overconfident classifier with its labels."""

    def make(seed: int = 0, n: int = 600, classes: int = 7) -> Predictions:
        random = np.random.default_rng(seed)
        labels = random.integers(0, classes, n)
        logits = random.normal(0.0, 1.5, (n, classes))
        logits[np.arange(n), labels] += 2.0
        powers = np.exp(1.3 * logits)
        return powers / powers.sum(axis=1, keepdims=True), labels

    return make
