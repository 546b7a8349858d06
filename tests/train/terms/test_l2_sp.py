"""L2-SP pulls the body to where it started and the head to zero."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from edgetl.errors import ConfigError
from edgetl.reference.head_kinds import give_head
from edgetl.train.starting_head import in_training_form
from edgetl.train.terms.l2_sp import L2Sp
from tests.train.helpers.started import start_of, step_of

SCALE_AND_ROWS = ("0.log_scale", "original")


def _moved(network: nn.Module, by: float) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += by


def test_it_is_the_papers_formula_of_parameters_alone(
    network: nn.Sequential, inputs: Tensor
) -> None:
    start = start_of(network)
    term = L2Sp(weight=0.3, head_weight=0.05).build(start)
    before = torch.cat([p.detach().flatten() for p in network[:3].parameters()])
    _moved(network, 0.1)
    network[1].running_mean.fill_(7.0)  # type: ignore[union-attr, operator]
    after = torch.cat([p.detach().flatten() for p in network[:3].parameters()])
    head = torch.cat([p.detach().flatten() for p in network[3].parameters()])
    want = 0.15 * float((after - before).square().sum()) + 0.025 * float(head.square().sum())
    value = term(step_of(start, inputs))
    assert float(value.detach()) == pytest.approx(want, rel=1e-6)
    value.backward()
    # The gradient of alpha/2 (w - w0)^2.
    gradient = network[0].weight.grad
    assert isinstance(gradient, Tensor)
    assert torch.allclose(gradient, torch.full_like(gradient, 0.3 * 0.1), atol=1e-7)
    grad = network[3].bias.grad
    assert isinstance(grad, Tensor) and torch.allclose(grad, 0.05 * network[3].bias)  # type: ignore[arg-type]
    assert not list(term.parameters()) and not term.state_dict()


def test_at_the_start_and_while_the_body_is_frozen_it_costs_nothing(
    network: nn.Sequential, inputs: Tensor
) -> None:
    start = start_of(network)
    term = L2Sp(weight=5.0).build(start)
    assert float(term(step_of(start, inputs)).detach()) == 0.0
    assert not term.in_head_phase and L2Sp(weight=1.0, head_weight=0.1).build(start).in_head_phase
    _moved(network, 1.0)
    network[0].requires_grad_(False)
    moving = sum(p.numel() for p in network[1].parameters())
    assert float(term(step_of(start, inputs)).detach()) == pytest.approx(2.5 * moving, rel=1e-5)


def test_a_pull_to_the_start_beats_one_to_zero_where_the_start_is_right(inputs: Tensor) -> None:
    torch.manual_seed(3)
    ends = []
    for maker in (L2Sp(weight=1.0), L2Sp(weight=0.0)):
        network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
        start = start_of(network, "2")
        before = network[0].weight.detach().clone()  # type: ignore[operator]
        term = maker.build(start)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.2)
        for _ in range(20):
            step = step_of(start, inputs)
            loss = nn.functional.cross_entropy(step.raw_logits, step.labels) + term(step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        ends.append(float((network[0].weight.detach() - before).norm()))  # type: ignore[operator]
    assert ends[0] < 0.5 * ends[1]


def test_the_whole_of_a_new_head_is_pulled_to_zero(inputs: Tensor) -> None:
    network = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    start = start_of(network, give_head(network, "1", "mlp", width=4))
    value = L2Sp(weight=1.0, head_weight=2.0).build(start)(step_of(start, inputs))
    want = sum(float(p.detach().square().sum()) for p in network[1].parameters())
    assert float(value.detach()) == pytest.approx(want, rel=1e-6)


def test_a_head_of_cosines_counts_by_its_weight_whose_length_is_what_moves(inputs: Tensor) -> None:
    network = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    layer = give_head(network, "1", "cosine", width=4)
    with in_training_form(network, layer, "cosine"):
        start = start_of(network, layer)
        value = L2Sp(weight=1.0, head_weight=2.0).build(start)(step_of(start, inputs))
        # Three rows of length 10.
        assert float(value.detach()) == pytest.approx(300, rel=1e-5)
        value.backward()
        grads = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        scale, rows = (grads[f"1.linear.parametrizations.weight.{at}"] for at in SCALE_AND_ROWS)
        # d/dlog s of 3 s^2, and none along the rows, which have no length of their own.
        assert float(scale) == pytest.approx(600, rel=1e-5)
        assert float(rows.abs().max()) < 1e-3


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf, True])
def test_a_weight_below_zero_or_not_finite_is_refused(weight: float) -> None:
    for options in ({"weight": weight}, {"weight": 1.0, "head_weight": weight}):
        with pytest.raises(ConfigError, match=r"l2_sp\.(head_)?weight: got .*finite number from 0"):
            L2Sp(**options)


def test_a_head_that_is_not_named_and_lora_are_refused(
    network: nn.Sequential, inputs: Tensor
) -> None:
    start = start_of(network, "output")
    with pytest.raises(ConfigError, match="names no layer"):
        L2Sp(weight=1.0, head_weight=0.1).build(start)
    plain = start_of(network)
    term = L2Sp(weight=1.0).build(plain)
    step = step_of(plain, inputs)
    network[0] = nn.Sequential(network[0])
    with pytest.raises(ConfigError, match=r"without the parameter '0\.weight'.*recipe = 'lora'"):
        term(step)
