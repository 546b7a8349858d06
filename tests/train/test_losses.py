"""Losses against their formulas in float64, written out class by class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from edgetl.errors import DataError
from edgetl.train.config import FinetuneConfig
from edgetl.train.losses import cross_entropy, data_loss, focal

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(size=(20, 5)) * 4
LABELS = GENERATOR.integers(0, 5, 20)
SOFT = GENERATOR.dirichlet(np.ones(5), 20)
WEIGHTS = np.array([0.5, 1.0, 2.0, 0.25, 3.0])
COUNTS = torch.tensor([10, 20, 5, 40, 25])


def config(**settings: Any) -> FinetuneConfig:
    return FinetuneConfig(architecture="mlp", weights="none", recipe="full", **settings)


def formula(
    *,
    smoothing: float = 0.0,
    soft: bool = False,
    weights: np.ndarray | None = None,
    gamma: float = 0.0,
    logits: np.ndarray = LOGITS,
) -> float:
    """Image by image and class by class, in float64."""
    total = 0.0
    for row, label, target in zip(logits, LABELS, SOFT, strict=True):
        log_p = log_softmax(row)
        for c in range(5):
            t = target[c] if soft else float(c == label)
            t = t * (1 - smoothing) + smoothing / 5
            weight = 1.0 if weights is None else weights[c]
            total -= weight * t * (1 - np.exp(log_p[c])) ** gamma * log_p[c]
    return total / len(logits)


def tensors(soft: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    return (
        torch.from_numpy(LOGITS),
        torch.from_numpy(LABELS),
        torch.from_numpy(SOFT) if soft else None,
    )


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_is_the_formula(smoothing: float, weighted: bool, soft: bool) -> None:
    logits, labels, targets = tensors(soft)
    got = cross_entropy(
        logits,
        labels,
        label_smoothing=smoothing,
        targets=targets,
        weights=torch.from_numpy(WEIGHTS).float() if weighted else None,
    )
    want = formula(smoothing=smoothing, soft=soft, weights=WEIGHTS if weighted else None)
    assert float(got) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_is_the_formula(smoothing: float, gamma: float, soft: bool) -> None:
    logits, labels, targets = tensors(soft)
    got = focal(
        logits,
        labels,
        gamma=gamma,
        label_smoothing=smoothing,
        targets=targets,
        weights=torch.from_numpy(WEIGHTS).float(),
    )
    want = formula(smoothing=smoothing, soft=soft, weights=WEIGHTS, gamma=gamma)
    assert float(got) == pytest.approx(want, rel=1e-5)


def test_focal_of_two_classes_is_torchvisions() -> None:
    # Of two classes the softmax is a sigmoid of the difference, for which torchvision has it.
    from torchvision.ops import sigmoid_focal_loss

    logits = torch.from_numpy(LOGITS[:, :2])
    labels = torch.from_numpy(LABELS % 2)
    want = sigmoid_focal_loss(
        logits[:, 1] - logits[:, 0], labels.double(), alpha=-1, gamma=2.0, reduction="mean"
    )
    assert float(focal(logits, labels, gamma=2.0)) == pytest.approx(float(want), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("scale", [1.0, 10_000.0])
def test_focal_and_its_gradient_are_finite_at_certainty(gamma: float, scale: float) -> None:
    logits = torch.tensor([[scale, -scale], [-scale, scale], [0.0, 0.0]], requires_grad=True)
    loss = focal(logits, torch.tensor([0, 0, 1]), gamma=gamma)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def test_the_mean_is_over_images_so_that_parts_of_a_batch_add_up() -> None:
    logits, labels, _ = tensors()
    weights = torch.from_numpy(WEIGHTS).float()
    whole = cross_entropy(logits, labels, weights=weights)
    halves = [
        cross_entropy(logits[half], labels[half], weights=weights)
        for half in (slice(0, 10), slice(10, 20))
    ]
    assert float(whole) == pytest.approx(float(sum(halves)) / 2, rel=1e-6)


def test_logit_adjustment_is_its_formula_and_undoes_the_prior() -> None:
    adjusted = data_loss(config(loss="logit-adjusted", logit_adjustment=1.5), COUNTS)
    logits, labels, _ = tensors()
    want = formula(logits=LOGITS + 1.5 * np.log(COUNTS.numpy() / 100))
    assert float(adjusted(logits, labels)) == pytest.approx(want, rel=1e-5)
    # Images that say nothing: the best answer to them is the prior, and the loss that knows the
    # prior is lowest for logits that say nothing too.
    plain = data_loss(config(loss="logit-adjusted"), COUNTS)
    flat = torch.zeros(100, 5, requires_grad=True)
    plain(flat, torch.repeat_interleave(torch.arange(5), COUNTS)).backward()
    assert flat.grad.sum(dim=0).abs().max() < 1e-7


def test_the_config_chooses() -> None:
    logits, labels, targets = tensors(soft=True)
    smooth = data_loss(config(label_smoothing=0.1), COUNTS)
    assert float(smooth(logits, labels)) == pytest.approx(formula(smoothing=0.1), rel=1e-5)
    balanced = data_loss(config(class_weights="balanced", loss="focal", focal_gamma=1.0), COUNTS)
    weights = 100 / (5 * COUNTS.numpy())
    want = formula(weights=weights, gamma=1.0, soft=True)
    assert float(balanced(logits, labels, targets)) == pytest.approx(want, rel=1e-5)
    assert not smooth.state_dict() and not balanced.state_dict()


def test_the_default_is_pytorchs_to_the_bit() -> None:
    logits, labels, _ = tensors()
    want = torch.nn.functional.cross_entropy(logits.float(), labels)
    assert torch.equal(data_loss(config(), COUNTS)(logits, labels), want)


@pytest.mark.parametrize("loss", ["cross-entropy", "focal", "logit-adjusted"])
@pytest.mark.parametrize("soft", [False, True])
def test_bf16_logits_are_summed_in_fp32(loss: Any, soft: bool) -> None:
    logits = torch.zeros(1, 300, dtype=torch.bfloat16)
    counts = torch.full((300,), 7)
    labels = torch.tensor([0])
    targets = torch.full((1, 300), 1 / 300) if soft else None
    found = data_loss(
        config(loss=loss, focal_gamma=0.0) if loss == "focal" else config(loss=loss), counts
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = found(logits, labels, targets)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(np.log(300), rel=1e-6)


def test_counts_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(DataError, match="no training image of class 1"):
        data_loss(config(loss="logit-adjusted"), torch.tensor([3, 0]))
    with pytest.raises(DataError, match="no training image of class 1"):
        data_loss(config(class_weights="balanced"), torch.tensor([3, 0]))
    # Plain losses need no image of each class.
    assert data_loss(config(), torch.tensor([3, 0])).weights is None
