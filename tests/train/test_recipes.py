"""What a phase trains, and at which rate."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgetl.spec import TensorInput
from edgetl.train.config import FinetuneConfig
from edgetl.train.depth import Depth, depth_of
from edgetl.train.recipes import (
    Phase,
    build_optimizer,
    first_trained,
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
        ("gradual", [("head", 2, 0.02), ("all", 7, 0.001)]),
        ("lp-ft", [("head", 1, 0.0), ("all", 7, 0.001)]),
        ("lora", [("lora", 7, 0.001)]),
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


def _depth() -> tuple[nn.Sequential, Depth]:
    network = _network()
    return network, depth_of(network, TensorInput(shape=(4,)), "3")


def test_a_frozen_part_of_the_body_keeps_its_statistics_and_the_rest_trains() -> None:
    network, depth = _depth()
    phase = Phase(name="all", epochs=1, learning_rate=0.1)
    set_trainable(network, network[3], phase, depth=depth, first=depth.of_module("2"))
    assert [module.training for module in network] == [False, False, True, True]
    assert [p.requires_grad for p in network.parameters()] == [False] * 4 + [True] * 2
    before = {name: value.clone() for name, value in network[1].state_dict().items()}
    network(torch.randn(8, 4)).sum().backward()
    assert all(torch.equal(before[name], value) for name, value in network[1].state_dict().items())
    set_trainable(network, network[3], phase, depth=depth, first=0)
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("train_from", [None, "c"])
def test_gradual_thawing_only_ever_grows_and_ends_with_all_that_may_train(
    epochs: int, train_from: str | None
) -> None:
    blocks = (("a", 1), ("b", 3), ("c", 5), ("d", 7), ("head", 9))
    depth = Depth(order={"": 0, **dict(blocks)}, blocks=blocks)
    phase = Phase(name="all", epochs=epochs, learning_rate=0.1, gradual=True)
    places = [first_trained(phase, at, depth, train_from=train_from) for at in range(epochs + 1)]
    assert places == sorted(places, reverse=True)
    floor = 0 if train_from is None else 5
    assert places[epochs - 1] == places[-1] == floor
    if epochs >= 4:
        assert len(set(places)) == (4 if train_from is None else 2)
        assert places[0] == 7


def test_each_kind_of_optimiser_takes_the_steps_of_pytorchs_own() -> None:
    kinds = {
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.3),
        "adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.3),
        "sgd": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.3, momentum=0.9),
    }
    for kind, make in kinds.items():
        torch.manual_seed(0)
        ours, theirs = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
        theirs.load_state_dict(ours.state_dict())
        options = {"learning_rate": 0.1, "weight_decay": 0.3, "kind": kind}
        pairs = ((ours, build_optimizer(ours, **options)), (theirs, make(theirs.parameters())))  # type: ignore[arg-type]
        for _ in range(3):
            for layer, optimizer in pairs:
                layer(torch.ones(2, 3)).square().sum().backward()
                optimizer.step()
                optimizer.zero_grad()
        torch.testing.assert_close(ours.weight, theirs.weight)


def test_rates_are_scaled_by_group_and_what_does_not_train_is_not_held() -> None:
    network = _network()
    network[0].bias.requires_grad_(False)
    scales = {network[0].weight: 0.25, network[3].weight: 1.0}
    optimizer = build_optimizer(network, learning_rate=0.1, weight_decay=0.3, scales=scales)
    held = {id(p): group["scale"] for group in optimizer.param_groups for p in group["params"]}
    assert held[id(network[0].weight)] == 0.25 and held[id(network[3].bias)] == 1.0
    assert id(network[0].bias) not in held and len(held) == 5
