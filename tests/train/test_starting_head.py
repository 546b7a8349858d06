"""Heads that start at the class means or at the solved regression, and how cosines are trained."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgetl.errors import ConfigError, DataError
from edgetl.reference.head_kinds import block_name
from edgetl.reference.heads import head_of
from edgetl.reference.network import build_network
from edgetl.spec import TensorInput
from edgetl.train.config import FinetuneConfig
from edgetl.train.losses import data_loss
from edgetl.train.recipes import headless
from edgetl.train.solve_head import choose_weight_decay, solve_head
from edgetl.train.starting_head import in_training_form, prototypes, start_head

CLASSES = ("a", "b", "c")
INPUT = TensorInput(shape=(6,))


def config(**values: Any) -> FinetuneConfig:
    return FinetuneConfig(
        **{"architecture": "mlp:8", "weights": "none", "recipe": "linear-probe"} | values
    )


def features(
    n: int = 45, *, counts: tuple[int, ...] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(3)
    labels = np.arange(n) % 3 if counts is None else np.repeat(np.arange(3), counts)
    centres = rng.normal(size=(3, 8)) * 1.5
    values = centres[labels] + rng.normal(size=(len(labels), 8))
    return np.maximum(values, 0).astype(np.float32), labels


def head_of_kind(kind: Any) -> nn.Module:
    torch.manual_seed(0)
    return build_network("mlp:8", 3, INPUT, head_kind=kind, head_width=7).head


def answers(head: nn.Module, x: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        return head(torch.from_numpy(x)).numpy()


def test_prototypes_are_the_unit_means_of_unit_features() -> None:
    x, y = features()
    got = prototypes(x, y, 3).numpy()
    for label in range(3):
        mine = x[y == label].astype(np.float64)
        mean = np.mean([row / np.linalg.norm(row) for row in mine], axis=0)
        np.testing.assert_allclose(got[label], mean / np.linalg.norm(mean), atol=1e-6)


def test_the_head_of_prototypes_answers_the_nearest_class_mean() -> None:
    x, y = features()
    head = head_of_kind("prototype")
    start = start_head(head, x, y, CLASSES, config=config(head_kind="prototype"), epochs=3)
    assert start.sentence == "the head starts at the class means" and start.chosen is None
    cosines = (x / np.linalg.norm(x, axis=1, keepdims=True)) @ prototypes(x, y, 3).numpy().T
    np.testing.assert_allclose(answers(head, x), 10 * cosines, atol=1e-5)
    assert (answers(head, x).argmax(1) == y).mean() > 0.8


def test_a_class_of_zeros_leaves_its_prototype_without_a_direction() -> None:
    x, y = features()
    x[y == 1] = 0
    head = head_of_kind("prototype")
    start_head(head, x, y, CLASSES, config=config(head_kind="prototype"), epochs=1)
    assert np.isfinite(answers(head, x)).all()
    network = nn.ModuleDict({"head": head})
    with in_training_form(network, "head.linear", "prototype"):
        torch.testing.assert_close(head.linear.weight.norm(dim=1), torch.tensor([10.0, 0.0, 10.0]))


def test_the_head_of_lp_ft_is_the_solved_regression() -> None:
    x, y = features()
    head = head_of_kind("linear")
    start = start_head(head, x, y, CLASSES, config=config(recipe="lp-ft"), epochs=1)
    weight, bias = solve_head(x, y, CLASSES, weight_decay=0.01)
    np.testing.assert_array_equal(head.weight.detach().numpy(), weight)
    np.testing.assert_array_equal(head.bias.detach().numpy(), bias)
    assert start.weight_decay == 0.01 and "weight decay of 0.01" in str(start.sentence)


@pytest.mark.parametrize(
    "settings",
    [
        {"class_weights": "balanced"},
        {"class_weights": "effective"},
        {"loss": "logit-adjusted"},
        {"loss": "logit-adjusted", "logit_adjustment": 0.5},
    ],
)
def test_the_solved_head_is_where_the_runs_own_loss_is_flat(settings: dict[str, Any]) -> None:
    x, y = features(counts=(30, 12, 5))
    wanted = config(recipe="lp-ft", weight_decay=0.05, **settings)
    head = head_of_kind("linear")
    start_head(head, x, y, CLASSES, config=wanted, epochs=1)
    loss = data_loss(wanted, torch.from_numpy(np.bincount(y)))
    total = loss(head(torch.from_numpy(x)), torch.from_numpy(y))
    (total + 0.025 * (head.weight**2).sum()).backward()
    for parameter in head.parameters():
        assert parameter.grad.abs().max() < 1e-4


def test_a_balanced_sampler_counts_as_balanced_weights() -> None:
    x, y = features(counts=(30, 12, 5))
    heads = []
    for settings in ({"sampler": "balanced"}, {"class_weights": "balanced"}):
        heads.append(head_of_kind("linear"))
        start_head(heads[-1], x, y, CLASSES, config=config(recipe="lp-ft", **settings), epochs=1)
    assert torch.equal(heads[0].weight, heads[1].weight)


@pytest.mark.parametrize("kind", ["linear", "mlp", "cosine"])
def test_other_heads_keep_their_random_start(kind: Any) -> None:
    x, y = features()
    head = head_of_kind(kind)
    before = copy.deepcopy(head.state_dict())
    start = start_head(head, x, y, CLASSES, config=config(head_kind=kind), epochs=2)
    assert start.sentence is None and start.weight_decay == 0.01
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())


@pytest.mark.parametrize("kind", ["linear", "mlp", "cosine", "prototype"])
def test_a_weight_decay_is_chosen_for_the_head_that_trains(kind: Any) -> None:
    x, y = features(18)
    head = head_of_kind(kind)
    before = copy.deepcopy(head.state_dict())
    wanted = config(head_kind=kind, batch_size=16, head_learning_rate=0.05)
    torch.manual_seed(11)
    start = start_head(head, x, y, CLASSES, config=wanted, epochs=3, choose=True)
    assert start.chosen is not None and start.weight_decay == start.chosen.weight_decay
    assert "held-out NLL" in str(start.sentence)
    losses = [row.nll for row in start.chosen.table]
    # It trained, each candidate otherwise, and worked on copies.
    assert len(set(losses)) > 1 and min(losses) < np.log(3)
    if kind != "prototype":
        assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
    # Nothing was drawn from the run's random state, and a resumed run chooses the same.
    after = torch.rand(3)
    torch.manual_seed(11)
    assert torch.equal(torch.rand(3), after)
    head.load_state_dict(before)
    assert start == start_head(head, x, y, CLASSES, config=wanted, epochs=3, choose=True)


def test_batches_that_make_one_step_do_so_in_cross_validation_too() -> None:
    x, y = features()
    tables = []
    for settings in ({"batch_size": 5, "accumulate": 3}, {"batch_size": 15}, {"batch_size": 5}):
        start = start_head(
            head_of_kind("linear"), x, y, CLASSES, config=config(**settings), epochs=2, choose=True
        )
        assert start.chosen is not None
        tables.append(start.chosen.table)
    assert tables[0] == tables[1] != tables[2]


@pytest.mark.parametrize("recipe", ["linear-probe", "lp-ft"])
def test_heads_of_the_logit_adjusted_loss_are_judged_as_if_classes_were_equally_frequent(
    recipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they answer; but a solved head is a plain regression until its bias is moved."""
    x, y = features(counts=(30, 10, 5))
    seen = []

    def choose(*given: Any, **options: Any) -> Any:
        seen.append(options["class_weights"])
        return choose_weight_decay(*given, **options)

    monkeypatch.setattr("edgetl.train.starting_head.choose_weight_decay", choose)
    wanted = config(recipe=recipe, loss="logit-adjusted")
    start_head(head_of_kind("linear"), x, y, CLASSES, config=wanted, epochs=1, choose=True)
    if recipe == "lp-ft":
        assert seen == [None]
    else:
        # 45 images of 3 classes: 15 over what each class has.
        assert np.allclose(seen[0], [0.5, 1.5, 3.0])


def test_a_solved_heads_weight_decay_is_chosen_among_solved_heads() -> None:
    x, y = features(30)
    head = head_of_kind("linear")
    start = start_head(head, x, y, CLASSES, config=config(recipe="lp-ft"), epochs=1, choose=True)
    weight, _ = solve_head(x, y, CLASSES, weight_decay=start.weight_decay)
    np.testing.assert_array_equal(head.weight.detach().numpy(), weight)


def test_a_class_without_an_image_is_named() -> None:
    x, y = features(counts=(6, 6, 0))
    with pytest.raises(DataError, match="class 'c': got 0 images"):
        start_head(
            head_of_kind("prototype"), x, y, CLASSES, config=config(head_kind="prototype"), epochs=1
        )


def test_only_a_linear_layer_takes_a_solved_head() -> None:
    x, y = features()
    with pytest.raises(ConfigError, match="two-stage"):
        start_head(head_of_kind("mlp"), x, y, CLASSES, config=config(recipe="lp-ft"), epochs=1)


@pytest.mark.parametrize("kind", ["cosine", "prototype"])
def test_cosines_learn_directions_and_one_length(kind: Any) -> None:
    torch.manual_seed(0)
    network = build_network("mlp:8", 3, INPUT, head_kind=kind)
    layer = head_of(network, "mlp:8", input=INPUT, classes=CLASSES, head_kind=kind)
    head = network.get_submodule(block_name(layer, kind))
    x, y = features()
    before = head.linear.weight.detach().clone()
    with in_training_form(network, layer, kind):
        torch.testing.assert_close(head.linear.weight, before)
        steps = torch.optim.AdamW(head.parameters(), lr=0.05, weight_decay=0.1)
        assert sorted(p.ndim for p in head.parameters()) == [0, 2]
        for _ in range(30):
            steps.zero_grad()
            loss = nn.functional.cross_entropy(head(torch.from_numpy(x)), torch.from_numpy(y))
            loss.backward()
            steps.step()
        lengths = head.linear.weight.norm(dim=1).detach()
        want = answers(head, x)
        state = copy.deepcopy(network.state_dict())
        network.load_state_dict(state)
    # One length for all rows, another one than before, and a plain layer again.
    torch.testing.assert_close(lengths, lengths[:1].expand(3))
    assert abs(float(lengths[0]) - 10) > 0.1 and not torch.equal(head.linear.weight, before)
    assert type(head.linear) is nn.Linear and [*head.state_dict()] == ["linear.weight"]
    np.testing.assert_allclose(answers(head, x), want, atol=1e-5)


def test_the_plain_form_comes_back_when_training_fails() -> None:
    network = build_network("mlp:8", 3, INPUT, head_kind="cosine")
    with pytest.raises(KeyError), in_training_form(network, "head.linear", "cosine"):
        raise KeyError
    assert type(network.head.linear) is nn.Linear


def test_the_whole_head_can_be_taken_out() -> None:
    network = build_network("mlp:8", 3, INPUT, head_kind="mlp", head_width=5)
    with headless(network, "head") as body:
        assert body(torch.ones(2, 6)).shape == (2, 8)
