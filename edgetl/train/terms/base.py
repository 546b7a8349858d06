"""What every term of a training loss is: built once from the start, then a scalar a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from edgetl.reference.ending import Answer


@dataclass(frozen=True, kw_only=True)
class Start:
    """Training before its first step: the starting weights are in the network.

    Attributes:
        network: The network in training, on the device. A term that needs the starting weights
            later copies them now.
        layer: The head's dotted name.
        answer: How the network's output becomes raw logits.
        preprocess: From the graph's input (uint8 images) to the network's.
        classes: The labels, in the order of the outputs.
        sources: How many classes each source has, in the order of `Step.sources`.
        device: Where everything is computed.
    """

    network: nn.Module
    layer: str
    answer: Answer
    preprocess: nn.Module
    classes: tuple[str, ...]
    sources: tuple[int, ...]
    device: torch.device


@dataclass(frozen=True, kw_only=True)
class SourceStep:
    """A source's batch after the network has seen it.

    Attributes:
        features: What the head would take, float [m, d], with gradient.
        labels: int64 [m], the source's own classes.
    """

    features: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is known of one training step once the network has answered.

    Attributes:
        network: The network in training, with gradient.
        inputs: The augmented batch as the graph takes it, [n, ...], on the device.
        labels: int64 [n].
        targets: float32 [n, classes] where MixUp or CutMix mixed the batch; None otherwise.
        raw_logits: float32 [n, classes], with gradient.
        features: What the head takes, float [n, d], with gradient; None unless a term of the run
            needs features.
        sources: A batch of each source, in order; empty without one.
        fraction: How much of the phase is done, 0 up to 1.
    """

    network: nn.Module
    inputs: Tensor
    labels: Tensor
    targets: Tensor | None
    raw_logits: Tensor
    features: Tensor | None
    sources: Sequence[SourceStep]
    fraction: float


class Term(nn.Module):
    """A part of the loss, weighted already. Evaluated inside the module that is distributed.

    Parameters that a term registers are trained with the network, and are not part of the
    classifier. Frozen networks that a term compares with are kept unregistered (in a tuple), so
    that they are neither trained nor stored.

    Attributes:
        name: What the history calls it, such as ``"l2-sp"``.
        needs_features: Whether `Step.features` must be there.
        in_head_phase: Whether it also counts while the body is frozen.
    """

    name: str
    needs_features: bool = False
    in_head_phase: bool = False

    def forward(self, step: Step) -> Tensor:
        """The weighted term, a float32 scalar."""
        raise NotImplementedError


class TermMaker(Protocol):
    """A term before there is a network: what the user asked for, checked."""

    @property
    def digest(self) -> Mapping[str, Any]:
        """Everything that decides the term, as plain data: a run resumes only with the same."""
        ...

    def build(self, start: Start) -> Term:
        """The term for a network that has its starting weights."""
        ...
