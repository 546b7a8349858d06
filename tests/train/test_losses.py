"""Cross-entropy against the formula in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from edgetl.train.losses import cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_it_is_the_formula(smoothing: float) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(20, 5)) * 4
    labels = generator.integers(0, 5, 20)
    target = np.full((20, 5), smoothing / 5)
    target[np.arange(20), labels] += 1 - smoothing
    want = -(target * log_softmax(logits, axis=1)).sum(1).mean()
    got = cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(labels), label_smoothing=smoothing
    )
    assert float(got) == pytest.approx(want, rel=1e-5)


def test_bf16_logits_are_summed_in_fp32() -> None:
    logits = torch.zeros(1, 300, dtype=torch.bfloat16)
    loss = cross_entropy(logits, torch.tensor([0]))
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(np.log(300), rel=1e-6)
