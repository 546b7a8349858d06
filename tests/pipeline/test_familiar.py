from __future__ import annotations

import numpy as np
import pytest

from edgetl.gate import Predictions
from edgetl.pipeline.familiar import familiar_images


def predictions(seed: int, n: int, accuracy: float, confidence: float) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, n)
    right = rng.random(n) < accuracy
    answers = np.where(right, labels, (labels + 1 + rng.integers(0, 9, n)) % 10)
    probabilities = np.full((n, 10), (1 - confidence) / 9)
    probabilities[np.arange(n), answers] = confidence
    return Predictions(labels=labels, probabilities=probabilities)


def test_a_network_that_knows_val_by_heart_is_said() -> None:
    warning = familiar_images(predictions(0, 200, 1.0, 0.999), predictions(1, 800, 0.95, 0.999))
    assert warning is not None and "val/" in warning and "too sure" in warning


@pytest.mark.parametrize("seed", range(40))
def test_equal_skill_is_not_suspected(seed: int) -> None:
    val, test = predictions(seed, 200, 0.95, 0.95), predictions(seed + 100, 800, 0.95, 0.95)
    assert familiar_images(val, test) is None


def test_a_harder_val_split_is_not_suspected() -> None:
    assert familiar_images(predictions(0, 200, 0.8, 0.9), predictions(1, 800, 1.0, 0.9)) is None


def test_without_labels_nothing_is_said() -> None:
    val = predictions(0, 50, 0.9, 0.9)
    assert familiar_images(val, Predictions(probabilities=val.probabilities)) is None
