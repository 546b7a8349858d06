"""With the term, new images are judged among new classes alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from edgetl.errors import ConfigError
from edgetl.train.terms.own_softmax import OwnSoftmax
from tests.train.helpers.started import start_of, step_of


def test_of_new_images_the_sum_is_cross_entropy_among_the_new(
    network: nn.Sequential, inputs: Tensor
) -> None:
    start = start_of(network)
    term = OwnSoftmax(known=1).build(start)
    step = replace(step_of(start, inputs), labels=torch.tensor([1, 2, 2, 1]))
    total = nn.functional.cross_entropy(step.raw_logits, step.labels) + term(step)
    want = nn.functional.cross_entropy(step.raw_logits[:, 1:], step.labels - 1)
    assert torch.allclose(total, want, atol=1e-6)
    (gradient,) = torch.autograd.grad(total, step.raw_logits)
    # New images say nothing of old classes.
    assert torch.allclose(gradient[:, 0], torch.zeros(4), atol=1e-7)


def test_mixed_images_of_new_classes_too(network: nn.Sequential, inputs: Tensor) -> None:
    start = start_of(network)
    targets = torch.tensor([[0, 0.3, 0.7], [0, 1, 0], [0, 0.5, 0.5], [0, 0.1, 0.9]])
    step = replace(step_of(start, inputs), targets=targets)
    total = nn.functional.cross_entropy(step.raw_logits, targets)
    total = total + OwnSoftmax(known=1).build(start)(step)
    want = nn.functional.cross_entropy(step.raw_logits[:, 1:], targets[:, 1:])
    assert torch.allclose(total, want, atol=1e-6)


def test_images_of_old_classes_are_judged_among_all(network: nn.Sequential, inputs: Tensor) -> None:
    start = start_of(network)
    term = OwnSoftmax(known=2).build(start)
    step = replace(step_of(start, inputs), labels=torch.tensor([0, 1, 1, 0]))
    assert float(term(step).detach()) == 0.0
    mixed = replace(step, targets=torch.tensor([[0.5, 0, 0.5]] * 4))
    assert float(term(mixed).detach()) == 0.0


def test_without_old_or_new_classes_it_means_nothing(network: nn.Sequential) -> None:
    for known in (0, -1, True, 1.0):
        with pytest.raises(ConfigError, match=r"own_softmax\.known"):
            OwnSoftmax(known=known)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="3 old ones of 3 classes"):
        OwnSoftmax(known=3).build(start_of(network))
