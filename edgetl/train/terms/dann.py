"""Adversarial transfer (DANN): features from which no one can tell source and target apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from edgetl.errors import ConfigError
from edgetl.train.terms.base import Start, Step, Term
from edgetl.train.terms.checks import check_weight
from edgetl.train.terms.source_features import (
    check_heads,
    feature_count,
    sides,
    strength,
    without_autocast,
)


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.factor * gradients[0], None


def reverse_gradient(x: Tensor, factor: float) -> Tensor:
    """The same numbers; their gradient comes back times -factor.

    Ganin et al. 2016, arXiv:1505.07818, equations 16 and 17.

    Args:
        x: Any shape and float dtype.
        factor: lambda, from 0.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> reverse_gradient(x, 0.5).sum().backward()
        >>> x.grad.tolist()
        [-0.5, -0.5]
    """
    return cast(Tensor, _Reversal.apply(x, factor))


def domain_loss(logits: Sequence[Tensor]) -> Tensor:
    """How well a discriminator tells domains apart: its cross-entropy in nats.

    The mean over domains of each one's mean, so that a larger batch of one counts no more. A
    discriminator that knows nothing scores log(number of domains).

    Args:
        logits: For each domain, in order, [n, domains]: the answers to its images. A domain
            without images does not count; one of them has some.

    Returns:
        A scalar of the logits' dtype.

    Example:
        >>> round(float(domain_loss([torch.zeros(3, 2), torch.zeros(5, 2)])), 4)
        0.6931
    """
    losses = [
        nn.functional.cross_entropy(each, torch.full((len(each),), domain, device=each.device))
        for domain, each in enumerate(logits)
        if len(each)
    ]
    return torch.stack(losses).mean()


@dataclass(frozen=True, kw_only=True)
class Dann:
    """A discriminator that learns to tell the domains apart, and a body that learns to prevent it.

    Ganin et al. 2016, arXiv:1505.07818: between features and discriminator the gradient turns
    its sign and is multiplied with weight x (2 / (1 + exp(-10 p)) - 1), p being the part of the
    phase that is done. As in the paper's experiments the discriminator itself learns at full rate
    from the start. So the term's value is the discriminator's loss, whatever the weight: near
    log(number of domains) the domains are mixed.

    Attributes:
        weight: From 0; the paper's is 1.
        hidden: Width of the discriminator's two hidden layers.

    Raises:
        ConfigError: For a weight below 0, NaN or infinite, or a width below 1.

    Example:
        >>> Dann(weight=1.0).digest["hidden"]
        256
    """

    weight: float
    hidden: int = 256

    def __post_init__(self) -> None:
        check_weight("source.weight", self.weight)
        if type(self.hidden) is not int or self.hidden < 1:
            raise ConfigError(
                "dann.hidden", got=repr(self.hidden), expected="at least 1", fix="set it to 256"
            )

    @property
    def digest(self) -> Mapping[str, Any]:
        """What decides the term; the sources are data of the run."""
        return {"term": "dann", "weight": self.weight, "hidden": self.hidden}

    def build(self, start: Start) -> Term:
        """The term, with a discriminator of the target and every source.

        Raises:
            ConfigError: Without a source, or when the head takes no features.
        """
        return _DannTerm(self, start)


class _DannTerm(Term):
    name = "dann"
    needs_features = True

    def __init__(self, maker: Dann, start: Start) -> None:
        super().__init__()
        self._maker = maker
        self._sources = len(start.sources)
        self.discriminator = nn.Sequential(
            nn.Linear(feature_count(start, "dann"), maker.hidden),
            nn.ReLU(),
            nn.Linear(maker.hidden, maker.hidden),
            nn.ReLU(),
            nn.Linear(maker.hidden, 1 + self._sources),
        ).to(start.device)

    def forward(self, step: Step) -> Tensor:
        target, sources = sides(step, self.name)
        check_heads(len(sources), self._sources, self.name)
        factor = self._maker.weight * strength("ramp", step.fraction)
        with without_autocast(target):
            # One pass: the discriminator has no layer that looks at a batch as a whole.
            together = reverse_gradient(torch.cat([target, *sources]), factor)
            counts = [len(target), *(len(each) for each in sources)]
            return domain_loss(torch.split(self.discriminator(together), counts))
