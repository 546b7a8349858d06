"""What a phase trains, and at which rate."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgetl.train.config import FinetuneConfig
from edgetl.train.recipes import (
    Phase,
    build_optimizer,
    headless,
    phases,
    set_trainable,
)


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))


@pytest.mark.parametrize(
    ("recipe", "want"),
    [
        ("linear-probe", [("head", 7, 0.02)]),
        ("two-stage", [("head", 2, 0.02), ("all", 7, 0.001)]),
        ("full", [("all", 7, 0.001)]),
    ],
)
def test_recipes_are_their_phases(recipe: str, want: list[tuple[str, int, float]]) -> None:
    config = FinetuneConfig(
        architecture="mlp",
        weights="none",
        recipe=recipe,  # type: ignore[arg-type]
        epochs=7,
        head_epochs=2,
        learning_rate=0.001,
        head_learning_rate=0.02,
    )
    got = [(phase.name, phase.epochs, phase.learning_rate) for phase in phases(config)]
    assert got == want


def test_a_frozen_backbone_is_in_eval_mode() -> None:
    network = _network()
    head = network[3]
    set_trainable(network, head, Phase(name="head", epochs=1, learning_rate=0.1))
    assert [module.training for module in network] == [False, False, False, True]
    assert [p.requires_grad for p in network.parameters()] == [False] * 4 + [True] * 2
    set_trainable(network, head, Phase(name="all", epochs=1, learning_rate=0.1))
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_the_optimiser_has_every_parameter_once_and_decays_matrices_only() -> None:
    network = _network()
    optimizer = build_optimizer(network, learning_rate=0.1, weight_decay=0.3)
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in network.parameters()}
    assert len(held) == len(list(network.parameters()))
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.3 if parameter.ndim > 1 else 0.0)


def test_headless_gives_the_heads_input_and_puts_the_head_back() -> None:
    network = _network().eval()
    x = torch.randn(5, 4)
    want = network(x)
    with headless(network, "3") as body:
        features = body(x)
    assert features.shape == (5, 6)
    assert torch.equal(network[3](features), want) and torch.equal(network(x), want)
    with pytest.raises(RuntimeError), headless(network, "3"):
        raise RuntimeError
    assert torch.equal(network(x), want)
