from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgetl.errors import ConfigError
from edgetl.reference.ending import PLAIN
from edgetl.reference.network import Mlp
from edgetl.train.terms.base import SourceStep, Start, Step
from edgetl.train.terms.coral import Coral, coral_distance


def drawn(n: int, d: int = 5, *, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def step(target: Tensor, *sources: Tensor) -> Step:
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


def start(sources: tuple[int, ...]) -> Start:
    return Start(
        network=Mlp(features=4, classes=2),
        layer="head",
        answer=PLAIN,
        preprocess=nn.Identity(),
        classes=("a", "b"),
        sources=sources,
        device=torch.device("cpu"),
    )


def test_it_is_the_distance_of_numpys_covariances() -> None:
    source, target = drawn(7, seed=0), 3 * drawn(9, seed=1)
    apart = np.cov(source.numpy(), rowvar=False) - np.cov(target.numpy(), rowvar=False)

    expected = np.linalg.norm(apart, "fro") ** 2 / (4 * 5**2)
    assert float(coral_distance(source, target)) == pytest.approx(expected, rel=1e-12)


def test_its_gradient_is_the_papers_and_that_of_finite_differences() -> None:
    source, target = drawn(7, seed=0).requires_grad_(), (2 * drawn(9, seed=1)).requires_grad_()
    assert torch.autograd.gradcheck(coral_distance, (source, target))

    coral_distance(source, target).backward()

    # Equations 4 and 5, with the sums over the batch written out as in the paper.
    n_s, n_t, d = 7, 9, 5
    ones_s, ones_t = torch.ones(1, n_s).double(), torch.ones(1, n_t).double()
    x, y = source.detach(), target.detach()
    c_s = (x.T @ x - (ones_s @ x).T @ (ones_s @ x) / n_s) / (n_s - 1)
    c_t = (y.T @ y - (ones_t @ y).T @ (ones_t @ y) / n_t) / (n_t - 1)
    by_source = (x.T - (ones_s @ x).T @ ones_s / n_s).T @ (c_s - c_t) / (d**2 * (n_s - 1))
    by_target = -(y.T - (ones_t @ y).T @ ones_t / n_t).T @ (c_s - c_t) / (d**2 * (n_t - 1))
    torch.testing.assert_close(source.grad, by_source)
    torch.testing.assert_close(target.grad, by_target)


def test_the_place_of_the_features_does_not_matter_only_their_spread() -> None:
    source = drawn(50, seed=0)

    assert float(coral_distance(source, source + 100)) == pytest.approx(0.0, abs=1e-20)
    assert float(coral_distance(source, 2 * source)) > 0.1


@pytest.mark.parametrize(("m", "n"), [(1, 5), (5, 1), (1, 1), (0, 5)])
def test_fewer_than_two_images_a_side_have_no_covariance_and_no_gradient(m: int, n: int) -> None:
    source, target = drawn(m, seed=0).requires_grad_(), drawn(n, seed=1).requires_grad_()

    value = coral_distance(source, target)
    value.backward()

    assert value.item() == 0.0
    assert float(source.grad.abs().sum()) == float(target.grad.abs().sum()) == 0.0


def test_the_term_is_the_weighted_sum_over_sources() -> None:
    built = Coral(weight=0.5).build(start((3, 3)))
    target, first, second = drawn(6, seed=0), drawn(7, seed=1), 2 * drawn(8, seed=2)

    expected = 0.5 * (coral_distance(first, target) + coral_distance(second, target))
    assert float(built(step(target, first, second))) == pytest.approx(float(expected))
    assert list(built.parameters()) == []


def test_half_precision_features_are_compared_in_float32() -> None:
    built = Coral(weight=1.0).build(start((3,)))
    source, target = drawn(64, seed=0).bfloat16(), (1.5 * drawn(64, seed=1)).bfloat16()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = built(step(target, source))

    assert value.dtype == torch.float32
    expected = coral_distance(source.double(), target.double())
    assert float(value) == pytest.approx(float(expected), rel=1e-5)


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"source\.weight"):
        Coral(weight=-1.0)
