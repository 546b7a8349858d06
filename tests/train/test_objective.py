"""The whole loss of a step: sums, features, and sources that leave batch statistics alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgetl.errors import ModelError
from edgetl.train.objective import Batch, Objective, still_statistics
from edgetl.train.terms.base import Step, Term


class _Watch(Term):
    needs_features = True

    def __init__(self, name: str, value: float) -> None:
        super().__init__()
        self.name = name
        self.value = nn.Parameter(torch.tensor(value))
        self.seen: list[Step] = []

    def forward(self, step: Step) -> Tensor:
        self.seen.append(step)
        return self.value * 2


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def _loss(raw_logits: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    assert raw_logits.dtype == torch.float32
    goal = labels if targets is None else targets
    return nn.functional.cross_entropy(raw_logits, goal)


def _batch(**changes: object) -> Batch:
    torch.manual_seed(1)
    values = {"inputs": torch.randn(5, 4), "labels": torch.tensor([0, 2, 1, 1, 0])}
    return Batch(**{**values, "fraction": 0.25, **changes})  # type: ignore[arg-type]


def test_the_total_is_the_sum_and_every_part_is_told() -> None:
    network, terms = _network(), (_Watch("one", 0.5), _Watch("two", 3.0))
    objective = Objective(network, _loss, terms, network=network, head=network[3])
    batch = _batch()
    total, parts = objective(batch)
    want = nn.functional.cross_entropy(terms[0].seen[0].raw_logits, batch.labels)
    torch.testing.assert_close(parts, torch.stack([want.detach(), *map(torch.tensor, (1.0, 6.0))]))
    torch.testing.assert_close(total.detach(), parts.sum())
    total.backward()
    assert float(terms[1].value.grad) == 2.0 and network[0].weight.grad is not None
    assert objective.names == ("one", "two") and not parts.requires_grad
    step = terms[0].seen[0]
    assert step.features is not None and step.fraction == 0.25 and step.network is network
    torch.testing.assert_close(network[3](step.features), step.raw_logits)
    # The optimiser and the stored state must see each parameter once.
    assert len(list(objective.parameters())) == len(list(network.parameters())) + 2
    assert not network[3]._forward_pre_hooks


def test_soft_targets_reach_the_loss() -> None:
    network = _network()
    objective = Objective(network, _loss, (), network=network, head=network[3])
    targets = torch.full((5, 3), 1 / 3)
    hard, soft = objective(_batch())[0], objective(_batch(targets=targets))[0]
    assert float(hard.detach()) != float(soft.detach())


def test_a_source_is_seen_by_the_same_body_and_moves_no_statistics() -> None:
    network, term = _network(), _Watch("one", 0.0)
    objective = Objective(network, _loss, (term,), network=network, head=network[3])
    alone = _network()
    alone.train()(_batch().inputs)
    source = (torch.randn(7, 4) * 9 + 3, torch.arange(7) % 2)
    objective(_batch(sources=(source,)))
    for mine, want in zip(network.buffers(), alone.buffers(), strict=True):
        assert torch.equal(mine, want)
    (seen,) = term.seen[0].sources
    assert seen.features.shape == (7, 6) and torch.equal(seen.labels, source[1])
    assert seen.features.requires_grad
    # As batch normalisation in training mode sees a batch, not by the running statistics.
    hidden = network[0](source[0])
    normal = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(seen.features, normal.relu(), atol=1e-5, rtol=1e-4)


def test_statistics_that_are_frozen_stay_in_use() -> None:
    norm = nn.BatchNorm1d(2).eval()
    x = torch.randn(4, 2) * 5
    want = norm(x)
    with still_statistics(norm):
        assert torch.equal(norm(x), want)


def test_features_that_are_no_vectors_are_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1), nn.Flatten())
    objective = Objective(network, _loss, (_Watch("one", 0.0),), network=network, head=network[1])
    with pytest.raises(ModelError, match="one vector for each sample"):
        objective(_batch(inputs=torch.randn(5, 3, 1, 1)))
