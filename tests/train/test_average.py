"""The average of weights is the written recurrence, and survives being stored."""

from __future__ import annotations

import torch
from torch import nn

from edgetl.train.average import Average, averaged_weights


class _Indexed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("index", torch.tensor([5, 7, 11]))


def test_it_is_the_recurrence_with_its_warm_up_and_leaves_whole_numbers_alone() -> None:
    torch.manual_seed(0)
    network = _Indexed()
    average = Average(network, 0.6)
    want = network.weight.detach().clone()
    mean = network.norm.running_mean.clone()
    for step in range(1, 40):
        with torch.no_grad():
            network.weight.copy_(torch.randn(3))
        network.norm(torch.randn(4, 2))
        average.update(network)
        decay = min(0.6, (1 + step) / (10 + step))
        want = decay * want + (1 - decay) * network.weight.detach()
        mean = decay * mean + (1 - decay) * network.norm.running_mean
    state = average.network.state_dict()
    torch.testing.assert_close(state["weight"], want)
    torch.testing.assert_close(state["norm.running_mean"], mean)
    assert torch.equal(state["index"], network.index)
    assert not torch.equal(state["weight"], network.weight)


def test_a_stored_average_goes_on_as_if_nothing_had_been() -> None:
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    whole, first = Average(network, 0.9), Average(network, 0.9)
    moved = [torch.randn(2, 3) for _ in range(6)]
    for at, value in enumerate(moved):
        with torch.no_grad():
            network.weight.copy_(value)
        whole.update(network)
        if at == 2:
            stored = {name: tensor.clone() for name, tensor in first.state().items()}
            first = Average(network, 0.9)
            first.restore(stored)
        first.update(network)
    for name, value in whole.state().items():
        assert torch.equal(first.state()[name], value)
    assert averaged_weights(whole.state()).keys() == network.state_dict().keys()
