"""Validation figures against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.metrics import accuracy_score, log_loss

from edgetl.errors import DataError
from edgetl.train.evaluate import in_batches, val_metrics


def test_figures_agree_with_other_libraries() -> None:
    generator = np.random.default_rng(0)
    logits = (generator.normal(size=(300, 4)) * 3).astype(np.float32)
    labels = generator.integers(0, 4, 300)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    got = val_metrics(logits, labels)
    assert got.top1 == pytest.approx(accuracy_score(labels, probabilities.argmax(1)))
    assert got.nll == pytest.approx(log_loss(labels, probabilities))
    assert got.entropy == pytest.approx(entropy(probabilities, axis=1).mean())
    assert 0 < got.ece < 1


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DataError):
        val_metrics(np.full((2, 3), np.nan, np.float32), np.array([0, 1]))


def test_batches_join_in_order_and_can_be_trained_on() -> None:
    inputs = torch.arange(600.0).reshape(600, 1)
    got = in_batches(lambda part: part * 2, inputs, torch.device("cpu"))
    assert torch.equal(got, inputs * 2)
    layer = torch.nn.Linear(1, 1)
    layer(got).sum().backward()
    assert layer.weight.grad is not None


def test_a_device_that_is_too_small_for_a_batch_gets_smaller_ones() -> None:
    sizes: list[int] = []

    def answer(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > 40:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return 2 * x

    inputs = torch.arange(100.0)
    assert torch.equal(in_batches(answer, inputs, torch.device("cpu")), 2 * inputs)
    assert sizes == [100, 100, 64, 32, 32, 32, 4]

    def never(x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        in_batches(never, inputs, torch.device("cpu"))
