"""Recipes as phases: which parameters train, for how long, at what rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from edgetl.train.config import FinetuneConfig

_WARM_UP_PART = 0.1


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of training with one optimiser and one schedule.

    Attributes:
        name: ``"head"`` trains the last linear layer on a frozen backbone, ``"all"`` everything.
        epochs: How many, at most.
        learning_rate: The peak of the schedule.
    """

    name: Literal["head", "all"]
    epochs: int
    learning_rate: float


def phases(config: FinetuneConfig) -> tuple[Phase, ...]:
    """The phases of the config's recipe, in order.

    Example:
        >>> config = FinetuneConfig(architecture="mlp", weights="none", recipe="two-stage")
        >>> [phase.name for phase in phases(config)]
        ['head', 'all']
    """
    everything = Phase(name="all", epochs=config.epochs, learning_rate=config.learning_rate)
    if config.recipe == "full":
        return (everything,)
    epochs = config.epochs if config.recipe == "linear-probe" else config.head_epochs
    head = Phase(name="head", epochs=epochs, learning_rate=config.head_learning_rate)
    return (head,) if config.recipe == "linear-probe" else (head, everything)


def set_trainable(network: nn.Module, head: nn.Module, phase: Phase) -> nn.Module:
    """Freeze or thaw for a phase.

    In a head phase the whole network is put in eval mode, the head aside: in training mode the
    batch statistics of a frozen backbone would still move.

    Returns:
        The part whose parameters the phase's optimiser gets.
    """
    frozen = phase.name == "head"
    for parameter in network.parameters():
        parameter.requires_grad_(not frozen)
    if not frozen:
        return network.train()
    network.eval()
    for parameter in head.parameters():
        parameter.requires_grad_(True)
    return head.train()


def build_optimizer(
    trained: nn.Module, *, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW over every parameter; biases and normalisation weights do not decay.

    Loshchilov and Hutter 2019, arXiv:1711.05101.

    Example:
        >>> optimizer = build_optimizer(nn.Linear(2, 3), learning_rate=1e-3, weight_decay=0.1)
        >>> [group["weight_decay"] for group in optimizer.param_groups]
        [0.1, 0.0]
    """
    matrices = [parameter for parameter in trained.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in trained.parameters() if parameter.ndim <= 1]
    # Not fused=True: that kernel walks memory and answers wrongly, without a word, when a
    # gradient or a restored state lies in another memory layout than its parameter.
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=learning_rate,
        foreach=True,
    )


def learning_rate_at(step: int, steps: int, peak: float) -> float:
    """The rate of one step: linear warm-up over the first tenth, then half a cosine to zero.

    A function of the step alone, so that a resumed run needs no schedule state.

    Args:
        step: From 0.
        steps: Of the whole phase.
        peak: The highest rate.

    Example:
        >>> [round(learning_rate_at(step, 20, 1.0), 3) for step in (0, 1, 2, 11, 19)]
        [0.5, 1.0, 1.0, 0.5, 0.008]
    """
    warm_up = max(1, round(steps * _WARM_UP_PART))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


@contextmanager
def headless(network: nn.Module, layer: str) -> Iterator[nn.Module]:
    """Inside the block the network gives what its head would take.

    Args:
        network: Its last operation is the linear layer `layer`.
        layer: The head's dotted name.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> with headless(network, "1") as body:
        ...     body(torch.ones(3, 2, 2)).shape
        torch.Size([3, 4])
    """
    parent, _, leaf = layer.rpartition(".")
    owner = network.get_submodule(parent)
    head = getattr(owner, leaf)
    setattr(owner, leaf, nn.Identity())
    try:
        yield network
    finally:
        setattr(owner, leaf, head)
