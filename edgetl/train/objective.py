"""The whole loss of a step: the data's and each term's, inside the module that is distributed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgetl.errors import ModelError
from edgetl.train.terms.base import SourceStep, Step, Term

DataLoss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Raw logits, labels and soft targets (or None) to a float32 scalar."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one step is given, on the device.

    Attributes:
        inputs: What the trained module takes.
        labels: int64 [n].
        targets: float32 [n, classes] of a mixed batch, or None.
        sources: Inputs and labels of each source.
        fraction: How much of the phase is done, 0 up to 1.
    """

    inputs: Tensor
    labels: Tensor
    targets: Tensor | None = None
    sources: tuple[tuple[Tensor, Tensor], ...] = ()
    fraction: float = 0.0


class Objective(nn.Module):
    """The trained module with its loss; what `torch.nn.parallel` wraps.

    The terms stand inside, because only parameters of the wrapped module are kept equal between
    processes.

    Args:
        model: From a batch's inputs to raw logits.
        loss: On the labels.
        terms: Those that count in this phase.
        network: The network inside the model, which terms look at.
        head: Its whole head; what enters it are the features.

    Example:
        >>> network = nn.Linear(4, 3)
        >>> loss = lambda raw, labels, targets: nn.functional.cross_entropy(raw, labels)
        >>> objective = Objective(network, loss, (), network=network, head=network)
        >>> batch = Batch(inputs=torch.zeros(2, 4), labels=torch.tensor([0, 2]))
        >>> total, parts = objective(batch)
        >>> bool(total == parts[0])
        True
    """

    def __init__(
        self,
        model: nn.Module,
        loss: DataLoss,
        terms: Sequence[Term],
        *,
        network: nn.Module,
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.model = model
        self.terms = nn.ModuleList(terms)
        self._loss = loss
        # In a tuple, so that they are not registered a second time.
        self._network = (network,)
        self._head = (head,)
        self._watches = any(term.needs_features for term in terms)

    @property
    def names(self) -> tuple[str, ...]:
        """What each of the parts after the first is called."""
        return tuple(cast(Term, term).name for term in self.terms)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The total, a float32 scalar with gradient; and its parts, [1 + terms], without.

        The first part is the loss on the labels.
        """
        features: list[Tensor] = []
        with _entering(self._head[0], features) if self._watches else nullcontext():
            raw_logits = self.model(batch.inputs)
        sources = [self._source(inputs, labels) for inputs, labels in batch.sources]
        with torch.autocast(raw_logits.device.type, enabled=False):
            raw_logits = raw_logits.float()
            parts = [self._loss(raw_logits, batch.labels, batch.targets)]
            step = Step(
                network=self._network[0],
                inputs=batch.inputs,
                labels=batch.labels,
                targets=batch.targets,
                raw_logits=raw_logits,
                features=_vectors(features) if self._watches else None,
                sources=sources,
                fraction=batch.fraction,
            )
            parts += [term(step) for term in self.terms]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total, torch.stack([part.detach() for part in parts])

    def _source(self, inputs: Tensor, labels: Tensor) -> SourceStep:
        """What the body makes of a source's batch, which leaves no mark on batch statistics.

        Val and the device see the target's images alone: the running statistics must be theirs.
        """
        features: list[Tensor] = []
        with still_statistics(self._network[0]), _entering(self._head[0], features):
            self.model(inputs)
        return SourceStep(features=_vectors(features), labels=labels)


@contextmanager
def still_statistics(network: nn.Module) -> Iterator[None]:
    """Inside the block batch normalisation in training mode uses a batch's statistics, and keeps
    none.

    Example:
        >>> network = nn.BatchNorm1d(2)
        >>> with still_statistics(network):
        ...     _ = network(torch.ones(4, 2))
        >>> network.running_mean.tolist(), int(network.num_batches_tracked)
        ([0.0, 0.0], 0)
    """
    tracking = [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats and module.training
    ]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True


@contextmanager
def _entering(module: nn.Module, found: list[Tensor]) -> Iterator[None]:
    """Inside the block the list grows by what enters the module."""

    def keep(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        found.append(inputs[0])

    handle = module.register_forward_pre_hook(keep)
    try:
        yield
    finally:
        handle.remove()


def _vectors(features: list[Tensor]) -> Tensor:
    if len(features) != 1 or features[0].ndim != 2:
        got = f"shape {tuple(features[0].shape)}" if features else "nothing"
        raise ModelError(
            "the features of a training batch",
            got=got + (f" in {len(features)} calls" if len(features) > 1 else ""),
            expected="one vector for each sample, entering the head",
            fix="use terms that need features with a network whose head is a linear layer behind "
            "its pooling",
        )
    return features[0].float()
