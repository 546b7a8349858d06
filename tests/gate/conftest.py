"""Made-up classifiers whose harms are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgetl.bench.compare import Pair
from edgetl.gate import Predictions

K = 10


def _answers(labels: np.ndarray, wrong: np.ndarray, confidence: float = 0.9) -> np.ndarray:
    rest = (1 - confidence) / (K - 1)
    probabilities = np.full((len(labels), K), rest)
    top = np.where(wrong, (labels + 1) % K, labels)
    probabilities[np.arange(len(labels)), top] = confidence
    return probabilities


@pytest.fixture
def make() -> Callable[..., Predictions]:
    """Predictions on n images, of which those in `wrong` are answered wrongly."""

    def make(n: int = 2000, wrong: range | list[int] = range(0), **more: object) -> Predictions:
        labels = np.arange(n) % K
        missed = np.zeros(n, bool)
        missed[list(wrong)] = True
        values: dict[str, object] = {
            "labels": labels,
            "probabilities": _answers(labels, missed),
            "ids": [f"{index:064x}" for index in range(n)],
        }
        return Predictions(**(values | more))  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_pair() -> Callable[..., Pair]:
    """Latency samples whose ratio is about `ratio`."""

    def make_pair(ratio: float = 0.5, rounds: int = 24, noise: float = 0.02, seed: int = 0) -> Pair:
        random = np.random.default_rng(seed)
        base = 0.002 * np.exp(random.normal(0, noise, (rounds, 40)))
        other = 0.002 * ratio * np.exp(random.normal(0, noise, (rounds, 40)))
        return Pair(
            name="made",
            against="reference",
            seconds=other,
            against_seconds=base,
            batch=1,
            threads=2,
        )

    return make_pair
