from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from edgetl.errors import ConfigError, DataError
from edgetl.reference.architectures import HeadKind
from edgetl.reference.ending import OUTPUT, PLAIN, RAW, Answer
from edgetl.reference.head_kinds import give_head
from edgetl.reference.network import Mlp
from edgetl.train.terms.base import SourceStep, Start, Step
from edgetl.train.terms.joint import JointSource
from edgetl.train.terms.source_features import feature_count, sides, strength


def start(network: nn.Module, layer: str, answer: Answer = PLAIN, sources: int = 1) -> Start:
    return Start(
        network=network,
        layer=layer,
        answer=answer,
        preprocess=nn.Identity(),
        classes=("a", "b"),
        sources=(3,) * sources,
        device=torch.device("cpu"),
    )


def step(target: torch.Tensor | None, *sources: torch.Tensor) -> Step:
    return Step(
        network=nn.Identity(),
        inputs=torch.zeros(2, 4),
        labels=torch.zeros(2, dtype=torch.int64),
        targets=None,
        raw_logits=torch.zeros(2, 2),
        features=target,
        sources=[
            SourceStep(features=each, labels=torch.zeros(len(each), dtype=torch.int64))
            for each in sources
        ],
        fraction=0.5,
    )


@pytest.mark.parametrize("p", [0.0, 0.05, 0.3, 0.7, 1.0])
def test_the_ramp_is_ganins(p: float) -> None:
    assert strength("ramp", p) == pytest.approx(2 / (1 + math.exp(-10 * p)) - 1, abs=1e-12)
    assert strength("linear-down", p) == 1 - p
    assert strength("constant", p) == 1.0


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ConfigError, match="constant, linear-down, ramp"):
        JointSource(weight=1.0, schedule="cosine")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["linear", "mlp", "cosine"])
def test_features_are_those_that_enter_the_whole_head(kind: HeadKind) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 2))
    layer = give_head(network, "1", kind, width=9)

    assert feature_count(start(network, layer), "joint") == 6
    assert feature_count(start(network, "1"), "joint") == 6


@pytest.mark.parametrize(("layer", "answer"), [(OUTPUT, RAW), ("head", RAW)])
def test_a_head_without_features_is_refused(layer: str, answer: Answer) -> None:
    with pytest.raises(ConfigError, match="no linear layer behind a body"):
        feature_count(start(Mlp(features=4, classes=2), layer, answer), "dann")


def test_a_convolution_as_head_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten())

    with pytest.raises(ConfigError, match="head '0'"):
        feature_count(start(network, "0"), "dann")


def test_a_term_without_a_source_is_refused() -> None:
    with pytest.raises(ConfigError, match="no source data"):
        feature_count(start(Mlp(features=4, classes=2), "head", sources=0), "coral")


@pytest.mark.parametrize(
    ("target", "sources"),
    [
        (None, [torch.zeros(2, 3)]),
        (torch.zeros(2, 3), []),
        (torch.zeros(2, 3, 1, 1), [torch.zeros(2, 3, 1, 1)]),
    ],
)
def test_a_step_without_rows_of_features_is_refused(
    target: torch.Tensor | None, sources: list[torch.Tensor]
) -> None:
    with pytest.raises(DataError, match="features for coral"):
        sides(step(target, *sources), "coral")


def test_half_precision_is_raised_and_double_kept() -> None:
    for given, wanted in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        target, (source,) = sides(
            step(torch.ones(2, 3, dtype=given), torch.ones(2, 3, dtype=given)), "coral"
        )
        assert target.dtype == source.dtype == wanted
