from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from edgetl.errors import ConfigError
from edgetl.reference.ending import PLAIN
from edgetl.train.terms.base import SourceStep, Start, Step, Term
from edgetl.train.terms.dann import Dann, domain_loss, reverse_gradient

WIDTH = 3


def term(maker: Dann, *, sources: int = 1) -> Term:
    torch.manual_seed(0)
    return maker.build(
        Start(
            network=nn.Sequential(nn.Linear(4, WIDTH), nn.Linear(WIDTH, 2)),
            layer="1",
            answer=PLAIN,
            preprocess=nn.Identity(),
            classes=("a", "b"),
            sources=(3,) * sources,
            device=torch.device("cpu"),
        )
    )


def step(target: Tensor, *sources: Tensor, fraction: float = 0.5) -> Step:
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
        fraction=fraction,
    )


def drawn(n: int, *, seed: int, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, WIDTH, generator=generator) + shift


def test_the_reversal_is_the_identity_with_a_turned_gradient() -> None:
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(3, 2, dtype=torch.float64)

    y = reverse_gradient(x, 0.3)
    (y * weights).sum().backward()

    assert torch.equal(y, x)
    assert torch.equal(x.grad, -0.3 * weights)


def test_two_reversals_of_one_are_none_by_finite_differences() -> None:
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)

    def twice(x: Tensor) -> Tensor:
        return reverse_gradient(reverse_gradient(x, 1.0).sin(), 1.0)

    assert torch.autograd.gradcheck(twice, x)
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(lambda x: reverse_gradient(x, 1.0), x)


def test_the_domain_loss_is_the_mean_of_each_domains_mean() -> None:
    logits = [torch.tensor([[2.0, 1.0]]), torch.tensor([[0.0, 3.0], [1.0, 1.0]])]
    first = -math.log(math.exp(2) / (math.exp(2) + math.exp(1)))
    second = (-math.log(math.exp(3) / (1 + math.exp(3))) + math.log(2)) / 2

    assert float(domain_loss(logits)) == pytest.approx((first + second) / 2, rel=1e-6)


def test_images_of_the_source_alone_are_judged_alone() -> None:
    answers = torch.tensor([[0.0, 3.0], [1.0, 1.0]])

    alone = domain_loss([torch.zeros(0, 2), answers])

    expected = nn.functional.cross_entropy(answers, torch.tensor([1, 1]))
    assert float(alone) == pytest.approx(float(expected))


@pytest.mark.parametrize("domains", [2, 3])
def test_a_discriminator_that_knows_nothing_scores_the_log_of_the_domains(domains: int) -> None:
    built = term(Dann(weight=1.0), sources=domains - 1)
    last = built.discriminator[-1]  # type: ignore[index]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    sources = [drawn(7, seed=one) for one in range(1, domains)]

    value = built(step(drawn(5, seed=0), *sources)).detach()

    assert float(value) == pytest.approx(math.log(domains))


def test_the_body_gets_the_turned_and_ramped_gradient_and_the_discriminator_its_own() -> None:
    built = term(Dann(weight=0.7, hidden=8))
    target, source = drawn(5, seed=0), drawn(6, seed=1)

    def gradients(reverse: bool) -> tuple[list[Tensor], list[Tensor]]:
        sides = [target.clone().requires_grad_(), source.clone().requires_grad_()]
        if reverse:
            loss = built(step(*sides, fraction=0.2))
        else:
            answers = [built.discriminator(side) for side in sides]  # type: ignore[operator]
            loss = domain_loss(answers)
        own = list(built.parameters())
        found = torch.autograd.grad(loss, [*sides, *own])
        return list(found[:2]), list(found[2:])

    turned, own = gradients(reverse=True)
    plain, own_plain = gradients(reverse=False)

    factor = -0.7 * (2 / (1 + math.exp(-10 * 0.2)) - 1)
    for one, other in zip(turned, plain, strict=True):
        torch.testing.assert_close(one, factor * other)
    for one, other in zip(own, own_plain, strict=True):
        torch.testing.assert_close(one, other)


def test_at_the_start_the_body_feels_nothing() -> None:
    target, source = drawn(5, seed=0).requires_grad_(), drawn(5, seed=1)

    term(Dann(weight=1.0))(step(target, source, fraction=0.0)).backward()

    assert float(target.grad.abs().max()) == 0.0


def test_playing_it_out_mixes_the_domains() -> None:
    """A body of one shift: the adversarial game takes the gap between the domains away."""
    built = term(Dann(weight=1.0, hidden=8))
    shift = torch.full((WIDTH,), 2.0, requires_grad=True)
    optimizer = torch.optim.SGD([shift, *built.parameters()], lr=0.1)

    for i in range(300):
        features = drawn(32, seed=2 * i) + shift
        optimizer.zero_grad()
        built(step(drawn(32, seed=2 * i + 1), features, fraction=1.0)).backward()
        optimizer.step()

    assert float(shift.detach().abs().max()) < 0.7


def test_its_discriminator_is_its_only_parameters() -> None:
    built = term(Dann(weight=1.0, hidden=5), sources=2)

    sizes = {name: tuple(value.shape) for name, value in built.named_parameters()}
    assert all(name.startswith("discriminator.") for name in sizes)
    assert sizes["discriminator.0.weight"] == (5, WIDTH)
    assert sizes["discriminator.4.weight"] == (3, 5)


@pytest.mark.parametrize("hidden", [0, -1, 1.5, True])
def test_a_width_that_is_none_is_refused(hidden: int) -> None:
    with pytest.raises(ConfigError, match=r"dann\.hidden"):
        Dann(weight=1.0, hidden=hidden)


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"source\.weight"):
        Dann(weight=-1.0)
