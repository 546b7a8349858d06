"""What the terms with source data ask alike of the network, and how they compute."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from edgetl.errors import ConfigError, DataError
from edgetl.reference.ending import OUTPUT
from edgetl.train.terms.base import Start, Step
from edgetl.train.terms.checks import head_block

SourceSchedule = Literal["constant", "linear-down", "ramp"]

_RAMP = 10.0


def strength(schedule: SourceSchedule, fraction: float) -> float:
    """What a term's weight is multiplied with when a part of the phase is done.

    ``"constant"`` is 1; ``"linear-down"`` falls from 1 to 0, so that the target has the last
    word; ``"ramp"`` rises from 0 towards 1 as 2 / (1 + exp(-10 p)) - 1 (Ganin et al. 2016,
    arXiv:1505.07818, section 5.2.2).

    Args:
        schedule: Which of the three.
        fraction: p, from 0 to 1.

    Example:
        >>> [round(strength("ramp", p), 4) for p in (0.0, 0.1, 1.0)]
        [0.0, 0.4621, 0.9999]
        >>> strength("linear-down", 0.25)
        0.75
    """
    if schedule == "linear-down":
        return 1.0 - fraction
    return 1.0 if schedule == "constant" else math.tanh(_RAMP * fraction / 2)


def check_schedule(schedule: str) -> None:
    """Refuse a schedule that is none.

    Raises:
        ConfigError: Naming those there are.
    """
    if schedule not in get_args(SourceSchedule):
        raise ConfigError(
            "source.schedule",
            got=repr(schedule),
            expected=f"one of {', '.join(get_args(SourceSchedule))}",
            fix="choose one of them",
        )


def feature_count(start: Start, term: str) -> int:
    """How many features the whole head takes.

    Raises:
        ConfigError: When there is no source, or the head is not a linear layer that features
            enter.
    """
    if not start.sources:
        raise ConfigError(
            term,
            got="no source data",
            expected="at least one source beside the target",
            fix="name one under [finetune.source], or leave the term out",
        )
    named = start.layer != OUTPUT and start.answer.folds
    block = head_block(start.network, start.layer) if named else ""
    head = start.network.get_submodule(block) if named else nn.Identity()
    # A head of several layers takes what the first of them takes.
    first = next((one for one in head.modules() if isinstance(one, nn.Linear)), None)
    if first is None:
        raise ConfigError(
            term,
            got=f"the head '{start.layer}', which is no linear layer behind a body",
            expected="a network that ends in one linear layer: what enters it is compared",
            fix="name the last linear layer in [finetune] head, or take another network",
        )
    return first.in_features


def sides(step: Step, term: str) -> tuple[Tensor, list[Tensor]]:
    """The target's features and those of each source, [n, d] each, in float32 or better.

    Raises:
        DataError: When a step lacks them, or they are not one row of d numbers an image.
    """
    found = [step.features, *(source.features for source in step.sources)]
    shapes = [None if one is None else tuple(one.shape) for one in found]
    if len(found) < 2 or any(shape is None or len(shape) != 2 for shape in shapes):
        raise DataError(
            f"features for {term}",
            got=", ".join("none" if shape is None else str(list(shape)) for shape in shapes),
            expected="[n, d] of the target and of every source",
            fix="take a network whose head takes one row of features an image",
        )
    target, *others = [precise(one) for one in found if one is not None]
    return target, others


def precise(x: Tensor) -> Tensor:
    """A tensor in float32, or in float64 where it is that.

    Example:
        >>> precise(torch.ones(2, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return x if x.dtype == torch.float64 else x.float()


def without_autocast(x: Tensor) -> torch.autocast:
    """A block in which nothing is rounded to 16 bits: sums over features do not bear it."""
    return torch.autocast(x.device.type, enabled=False)


def check_heads(sources: int, heads: int, term: str) -> None:
    """Refuse another number of sources than the term was built for.

    Raises:
        DataError: Saying both.

    Example:
        >>> check_heads(2, 2, "joint")
    """
    if sources != heads:
        raise DataError(
            f"sources of {term}",
            got=f"batches of {sources}",
            expected=f"one of each of the {heads} that training began with",
            fix="give the run the sources that the term was made for",
        )
