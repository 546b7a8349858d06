"""One epoch of training: its batches, its steps, and the means of what they gave."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgetl.errors import ConfigError
from edgetl.extras import extra
from edgetl.train.average import Average
from edgetl.train.config import FinetuneConfig
from edgetl.train.feed import Drawn, Feed
from edgetl.train.objective import Batch
from edgetl.train.prefetch import one_ahead
from edgetl.train.sampler import epoch_order
from edgetl.train.schedule import learning_rate_at
from edgetl.train.session import seed_torch
from edgetl.train.source_feed import SourceFeed

if TYPE_CHECKING:
    from accelerate import Accelerator

Floats = NDArray[np.float64]
_Drawn = tuple[Drawn, tuple[tuple[Tensor, Tensor], ...]]


@dataclass(frozen=True, kw_only=True)
class Means:
    """What an epoch's steps gave.

    Attributes:
        loss: Mean over the steps, over all processes.
        parts: The means of the loss on the labels and of each term.
        learning_rate: Of the last step.
    """

    loss: float
    parts: tuple[float, ...]
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where in the run an epoch is.

    Attributes:
        epoch: From 1, over all phases.
        done: Epochs of its phase before it.
        epochs: Of its phase, at most.
        peak: The phase's learning rate.
    """

    epoch: int
    done: int
    epochs: int
    peak: float


Tell = Callable[[int, int, float, float], None]
"""A step (from 1), how many the epoch has, the mean loss so far, the learning rate."""
Diverged = Callable[[str, str, float], Exception]
"""What was seen, where, and the learning rate there, to the error to raise."""


def epoch_batches(
    labels: NDArray[np.int64], config: FinetuneConfig, epoch: int
) -> list[NDArray[np.int64]]:
    """The epoch's order in batches, equal within one: a step of one image breaks batch norm."""
    order = epoch_order(labels, sampler=config.sampler, seed=config.seed, epoch=epoch)
    return np.array_split(order, math.ceil(len(order) / config.batch_size))


def steps_of(images: int, config: FinetuneConfig) -> int:
    """How many steps an epoch has."""
    return math.ceil(math.ceil(images / config.batch_size) / config.accumulate)


def check_shares(labels: NDArray[np.int64], config: FinetuneConfig, processes: int) -> None:
    """Refuse batches that are too small to be shared out.

    Raises:
        ConfigError: With how large the smallest is.
    """
    least = len(epoch_batches(labels, config, 1)[-1])
    if least < processes:
        raise ConfigError(
            "batch_size",
            got=f"{least} images a step for {processes} processes",
            expected="at least one image a process",
            fix="raise batch_size, or launch fewer processes",
        )


@dataclass(frozen=True, kw_only=True)
class Stepper:
    """What takes the steps of an epoch.

    Attributes:
        config: The run's.
        accelerator: Its devices and processes.
        feed: Where batches come from.
        sources: Other data, a batch of each beside every batch.
        model: The prepared objective.
        names: Its terms'.
        optimizer: Prepared, where a loss is scaled; else as it is.
        average: Of the network's weights, or None.
        network: What is averaged.
        ahead: Make the next batch in another thread meanwhile.
    """

    config: FinetuneConfig
    accelerator: Accelerator
    feed: Feed
    sources: tuple[SourceFeed, ...]
    model: nn.Module
    names: tuple[str, ...]
    optimizer: torch.optim.Optimizer
    average: Average | None
    network: nn.Module
    ahead: bool = False

    def epoch(
        self, labels: NDArray[np.int64], at: Position, *, tell: Tell, diverged: Diverged
    ) -> Means:
        """Take every step of an epoch.

        Raises:
            Exception: What `diverged` gives, at the first loss that is not finite.
        """
        world = self.accelerator.num_processes
        seed_torch(self.config.seed, at.epoch, self.accelerator.process_index)
        batches = epoch_batches(labels, self.config, at.epoch)
        together = self.config.accumulate
        groups = [batches[start : start + together] for start in range(0, len(batches), together)]
        steps, before = len(groups), len(groups) * at.done
        sums, rate = np.zeros(2 + len(self.names)), 0.0
        drawn = self._drawn(batches, at.epoch)
        with closing(one_ahead(drawn) if self.ahead else drawn) as stream:
            for step, group in enumerate(groups, start=1):
                rate = self._set_rate(before + step - 1, steps * at.epochs, at.peak)
                fraction = (before + step - 1) / (steps * at.epochs)
                values = self._gradients(stream, [len(part) for part in group], fraction)
                sums += values
                if not np.isfinite(values).all():
                    where = f"step {step} of epoch {at.epoch}"
                    raise diverged(self._seen(values), where, rate)
                self.optimizer.step()
                self.optimizer.zero_grad()
                if self.average is not None:
                    self.average.update(self.network)
                tell(step, steps, float(sums[0]) * world / step, rate)
        loss, *parts = (self._over_processes(sums) / steps).tolist()
        return Means(loss=loss, parts=tuple(parts), learning_rate=rate)

    def _drawn(self, batches: list[NDArray[np.int64]], epoch: int) -> Generator[_Drawn, None, None]:
        """This process's share of each batch, changed, with its share of each source's."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        seed = self.config.seed
        changes = np.random.default_rng([seed, epoch, rank + 1])
        sources = [
            source.steps(seed=seed, epoch=epoch, rank=rank, processes=world)
            for source in self.sources
        ]
        for batch in batches:
            share = torch.from_numpy(np.array_split(batch, world)[rank])
            yield self.feed.draw(share, changes), tuple(next(source) for source in sources)

    def _set_rate(self, step: int, steps: int, peak: float) -> float:
        rate = learning_rate_at(step, steps, peak, self.config.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        return rate

    def _gradients(self, stream: Iterator[_Drawn], sizes: list[int], fraction: float) -> Floats:
        """Gradients of one step's batches; the total and its parts, float64, this process's share.

        A batch counts in the mean by its images, and so does a process's share of it: the
        gradients are those of one process that sees all of the step's images at once.
        """
        images, world = sum(sizes), self.accelerator.num_processes
        sums = np.zeros(2 + len(self.names))
        for number, _ in enumerate(sizes, start=1):
            drawn, sources = next(stream)
            batch = self._placed(drawn, sources, fraction)
            share = len(drawn.labels) / images
            with self._synchronised(number == len(sizes)):
                total, parts = self.model(batch)
                values = torch.cat([total.detach().reshape(1), parts]).tolist()
                if not all(map(math.isfinite, values)):
                    return np.asarray(values)
                self._backward(total if share * world == 1 else total * share * world)
            sums += share * np.asarray(values)
        return sums

    def _backward(self, loss: Tensor) -> None:
        # accelerate's own looks for packages on the disk each time, and does no more without a
        # scaler.
        if self.accelerator.scaler is None:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self.accelerator.backward(loss)

    def _synchronised(self, last: bool) -> AbstractContextManager[object]:
        """Processes exchange their gradients once a step, with the last of its batches."""
        return nullcontext() if last else self.accelerator.no_sync(self.model)

    def _placed(
        self, drawn: Drawn, sources: tuple[tuple[Tensor, Tensor], ...], fraction: float
    ) -> Batch:
        device = self.accelerator.device
        return Batch(
            inputs=self.feed.place(drawn.inputs),
            labels=drawn.labels.to(device),
            targets=None if drawn.targets is None else drawn.targets.to(device),
            sources=tuple((inputs.to(device), labels.to(device)) for inputs, labels in sources),
            fraction=fraction,
        )

    def _seen(self, values: Floats) -> str:
        names = ("the labels", *(f"the term '{name}'" for name in self.names))
        bad = [
            name for name, value in zip(names, values[1:], strict=True) if not math.isfinite(value)
        ]
        return f"a loss of {values[0]}" + (f", from {bad[0]}" if self.names and bad else "")

    def _over_processes(self, sums: Floats) -> Floats:
        if self.accelerator.num_processes == 1:
            return sums
        with extra("train"):
            from accelerate.utils import reduce
        together = reduce(torch.from_numpy(sums).to(self.accelerator.device), reduction="sum")
        return np.asarray(together.cpu().numpy(), np.float64)
