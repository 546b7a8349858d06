"""One run through the phases of a recipe: epochs, early stopping, a state on disk after each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgetl.errors import CheckpointError, ConfigError
from edgetl.extras import extra
from edgetl.train.config import FinetuneConfig
from edgetl.train.evaluate import ValMetrics, val_metrics
from edgetl.train.feed import Batches, FeatureFeed, Feed, ImageFeed, Parts
from edgetl.train.losses import cross_entropy
from edgetl.train.progress import Progress, TrainProgress
from edgetl.train.recipes import Phase, build_optimizer, learning_rate_at, phases, set_trainable
from edgetl.train.session import seed_torch
from edgetl.train.state import (
    EpochRecord,
    best_record,
    load_state,
    restore_optimizer,
    save_state,
)


@dataclass(kw_only=True)
class Run:
    """The state of one call of `edgetl.train.loop.finetune`.

    Attributes:
        config: What was asked for.
        parts: The network and what surrounds it; trained in place.
        train, val: The splits in memory.
        folder: Where the states go.
        digest: Of everything that the run was started with.
        progress: Told in the first process only.
        records: The history so far.
    """

    config: FinetuneConfig
    parts: Parts
    train: Batches
    val: Batches
    folder: Path
    digest: str
    progress: Progress | None
    records: list[EpochRecord] = field(default_factory=list)
    _stored: dict[str, Tensor] = field(default_factory=dict)

    def resume(self) -> int:
        """Go back to the last whole epoch on disk; returns how many were done."""
        # One process first: it may remove what belongs to another run.
        with self.parts.accelerator.main_process_first():
            state = load_state(self.folder, self.digest)
        if state is None:
            return 0
        self.parts.network.load_state_dict(state.weights)
        self.records = list(state.records)
        self._stored = state.optimizer
        return len(self.records)

    def train_all(self) -> None:
        """Every phase that is not over yet."""
        for phase in phases(self.config):
            if not self._is_over(phase):
                self._train_phase(phase)

    def _done(self, phase: Phase) -> list[EpochRecord]:
        return [record for record in self.records if record.phase == phase.name]

    def _is_over(self, phase: Phase) -> bool:
        """A function of the history alone, so that a resumed run stops where it would have."""
        done = self._done(phase)
        if len(done) >= phase.epochs:
            return True
        if self.config.patience is None or not done:
            return False
        return done[-1].epoch - best_record(done).epoch >= self.config.patience

    def _train_phase(self, phase: Phase) -> None:
        trainable = set_trainable(self.parts.network, self.parts.head, phase)
        plain = build_optimizer(
            trainable, learning_rate=phase.learning_rate, weight_decay=self.config.weight_decay
        )
        alone = phase.name == "head" and self.parts.has_features
        kind = FeatureFeed if alone else ImageFeed
        feed: Feed = kind(self.parts, self.train, self.val)
        model, optimizer = self.parts.accelerator.prepare(feed.trained(), plain)
        if self._done(phase):
            restore_optimizer(plain, self._stored)
        while not self._is_over(phase):
            set_trainable(self.parts.network, self.parts.head, phase)
            loss, rate = self._train_epoch(phase, feed, model, optimizer)
            self._finish_epoch(phase, feed, plain, loss, rate)
        self.parts.accelerator.free_memory()

    def _train_epoch(
        self, phase: Phase, feed: Feed, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[float, float]:
        """Mean loss, and the last step's rate."""
        number, rank = len(self.records) + 1, self.parts.accelerator.process_index
        seed_torch(self.config.seed, number, rank)
        changes = np.random.default_rng([self.config.seed, number, rank + 1])
        batches = self._batches(number)
        before, steps = len(batches) * len(self._done(phase)), len(batches) * phase.epochs
        total, rate = 0.0, 0.0
        for step, batch in enumerate(batches, start=1):
            rate = learning_rate_at(before + step - 1, steps, phase.learning_rate)
            for group in optimizer.param_groups:
                group["lr"] = rate
            share = np.array_split(batch, self.parts.accelerator.num_processes)[rank]
            indices = torch.from_numpy(share)
            labels = self.train.labels[indices].to(self.parts.device)
            raw_logits = model(feed.take(indices, changes))
            loss = cross_entropy(raw_logits, labels, label_smoothing=self.config.label_smoothing)
            total += _finite(loss.item(), number, step, rate)
            self.parts.accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            self._tell(phase, number, step, len(batches), total / step, rate)
        return total / len(batches), rate

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """The epoch's order in steps, equal within one: a step of one image breaks batch norm."""
        n = len(self.train.labels)
        order = np.random.default_rng([self.config.seed, epoch]).permutation(n)
        batches = np.array_split(order, math.ceil(n / self.config.batch_size))
        world = self.parts.accelerator.num_processes
        if len(batches[-1]) < world:
            raise ConfigError(
                "batch_size",
                got=f"{len(batches[-1])} images a step for {world} processes",
                expected="at least one image a process",
                fix="raise batch_size, or launch fewer processes",
            )
        return batches

    def _finish_epoch(
        self, phase: Phase, feed: Feed, optimizer: torch.optim.Optimizer, loss: float, rate: float
    ) -> None:
        number = len(self.records) + 1
        figures = self._agree(lambda: self._validate(feed, number, rate))
        record = EpochRecord(
            epoch=number, phase=phase.name, loss=loss, learning_rate=rate, **asdict(figures)
        )
        self.records.append(record)
        if self.parts.accelerator.is_main_process:
            weights = self.parts.network.state_dict()
            save_state(self.folder, self.digest, self.records, weights, optimizer)
        self.parts.accelerator.wait_for_everyone()
        steps = math.ceil(len(self.train.labels) / self.config.batch_size)
        self._tell(phase, number, steps, steps, loss, rate, record)

    def _validate(self, feed: Feed, epoch: int, rate: float) -> ValMetrics:
        raw_logits = feed.validate()
        if not np.isfinite(raw_logits).all():
            raise _diverged("logits on val that are not finite", f"epoch {epoch}", rate)
        return val_metrics(raw_logits, self.val.labels.numpy())

    def _agree(self, measure: Callable[[], ValMetrics]) -> ValMetrics:
        """The first process measures and tells the others, so that all stop at one epoch."""
        if self.parts.accelerator.num_processes == 1:
            return measure()
        with extra("train"):
            from accelerate.utils import broadcast
        own = [0.0] * 4
        if self.parts.accelerator.is_main_process:
            own = list(asdict(measure()).values())
        numbers = torch.tensor(own, dtype=torch.float64).to(self.parts.device)
        top1, nll, ece, entropy = broadcast(numbers).tolist()
        return ValMetrics(top1=top1, nll=nll, ece=ece, entropy=entropy)

    def _tell(
        self,
        phase: Phase,
        epoch: int,
        step: int,
        steps: int,
        loss: float,
        rate: float,
        record: EpochRecord | None = None,
    ) -> None:
        if self.progress is None or not self.parts.accelerator.is_main_process:
            return
        self.progress(
            TrainProgress(
                phase=phase.name,
                epoch=epoch,
                epochs=sum(each.epochs for each in phases(self.config)),
                step=step,
                steps=steps,
                loss=loss,
                learning_rate=rate,
                record=record,
            )
        )


def _finite(loss: float, epoch: int, step: int, rate: float) -> float:
    if not math.isfinite(loss):
        raise _diverged(f"a loss of {loss}", f"step {step} of epoch {epoch}", rate)
    return loss


def _diverged(got: str, where: str, rate: float) -> CheckpointError:
    return CheckpointError(
        "training",
        got=f"{got} at {where}, learning rate {rate:.3g}",
        expected="finite numbers",
        fix="lower the learning rate, or look for inputs and starting weights that are too large",
    )
