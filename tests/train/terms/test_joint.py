from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from edgetl.errors import ConfigError, DataError
from edgetl.reference.ending import PLAIN
from edgetl.reference.network import Mlp
from edgetl.train.terms.base import SourceStep, Start, Step, Term
from edgetl.train.terms.joint import JointSource


def term(maker: JointSource, *, sources: tuple[int, ...] = (3,), double: bool = False) -> Term:
    network = Mlp(features=4, classes=2)
    torch.manual_seed(0)
    built = maker.build(
        Start(
            network=network,
            layer="head",
            answer=PLAIN,
            preprocess=nn.Identity(),
            classes=("a", "b"),
            sources=sources,
            device=torch.device("cpu"),
        )
    )
    return built.double() if double else built


def step(*sources: SourceStep, fraction: float = 0.5) -> Step:
    width = sources[0].features.shape[1]
    return Step(
        network=nn.Identity(),
        inputs=torch.zeros(2, 4),
        labels=torch.zeros(2, dtype=torch.int64),
        targets=None,
        raw_logits=torch.zeros(2, 2),
        features=torch.zeros(2, width),
        sources=sources,
        fraction=fraction,
    )


def width() -> int:
    return Mlp(features=4, classes=2).head.in_features


def batch(n: int, classes: int, *, seed: int, dtype: torch.dtype = torch.float32) -> SourceStep:
    generator = torch.Generator().manual_seed(seed)
    return SourceStep(
        features=torch.randn(n, width(), generator=generator, dtype=dtype),
        labels=torch.randint(classes, (n,), generator=generator),
    )


def by_hand(head: nn.Module, source: SourceStep) -> float:
    """-log softmax, written out."""
    logits = head(source.features).detach().double().tolist()
    total = 0.0
    for row, label in zip(logits, source.labels.tolist(), strict=True):
        total -= math.log(math.exp(row[label]) / sum(math.exp(value) for value in row))
    return total / len(logits)


@pytest.mark.parametrize(
    ("schedule", "fraction", "factor"),
    [("constant", 0.9, 1.0), ("linear-down", 0.75, 0.25), ("ramp", 0.1, math.tanh(0.5))],
)
def test_it_is_the_weighted_cross_entropy_of_the_sources_own_heads(
    schedule: str, fraction: float, factor: float
) -> None:
    built = term(JointSource(weight=0.7, schedule=schedule), sources=(3, 5))  # type: ignore[arg-type]
    first, second = batch(6, 3, seed=1), batch(4, 5, seed=2)

    value = float(built(step(first, second, fraction=fraction)).detach())

    heads = list(built.heads)  # type: ignore[arg-type]
    assert [head.out_features for head in heads] == [3, 5]
    expected = 0.7 * factor * (by_hand(heads[0], first) + by_hand(heads[1], second))
    assert value == pytest.approx(expected, rel=1e-5)


def test_its_gradient_is_right_by_finite_differences() -> None:
    built = term(JointSource(weight=0.7), double=True)
    source = batch(3, 3, seed=1, dtype=torch.float64)

    def value(features: Tensor) -> Tensor:
        return built(step(SourceStep(features=features, labels=source.labels)))

    assert torch.autograd.gradcheck(value, source.features.requires_grad_())


def test_it_reaches_the_shared_body_and_its_own_head_but_not_the_targets() -> None:
    torch.manual_seed(0)
    network = Mlp(features=4, classes=2)
    built = term(JointSource(weight=1.0))
    body, network.head = network.head, nn.Identity()
    features = network(torch.randn(6, 4))

    built(step(SourceStep(features=features, labels=torch.arange(6) % 3))).backward()

    assert all(bool(p.grad.abs().sum() > 0) for p in built.parameters())
    assert all(p.grad is not None for p in network.parameters())
    assert body.weight.grad is None


def test_its_heads_are_its_only_parameters() -> None:
    built = term(JointSource(weight=1.0), sources=(3, 5))

    assert {name for name, _ in built.named_parameters()} == {
        f"heads.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")
    }


def test_half_precision_features_give_a_float32_loss() -> None:
    source = batch(6, 3, seed=1)
    rounded = SourceStep(features=source.features.bfloat16(), labels=source.labels)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = term(JointSource(weight=1.0))(step(rounded))

    assert value.dtype == torch.float32


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf, "1"])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match=r"source\.weight"):
        JointSource(weight=weight)


def test_another_number_of_sources_is_refused() -> None:
    with pytest.raises(DataError, match="batches of 2"):
        term(JointSource(weight=1.0))(step(batch(2, 3, seed=1), batch(2, 3, seed=2)))


def test_everything_that_decides_it_is_in_its_digest() -> None:
    digests = [
        JointSource(weight=1.0).digest,
        JointSource(weight=2.0).digest,
        JointSource(weight=1.0, schedule="ramp").digest,
    ]

    assert len({str(each) for each in digests}) == 3
