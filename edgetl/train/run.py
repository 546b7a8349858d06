"""One run through the phases of a recipe: epochs, early stopping, a state on disk after each."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgetl.extras import extra
from edgetl.train.average import Average
from edgetl.train.config import FinetuneConfig
from edgetl.train.depth import Depth
from edgetl.train.epoch import Means, Position, Stepper, check_shares, steps_of
from edgetl.train.evaluate import ValMetrics, val_metrics
from edgetl.train.feed import Batches, FeatureFeed, Feed, ImageFeed, Parts
from edgetl.train.logs import Logs
from edgetl.train.objective import DataLoss, Objective
from edgetl.train.progress import Progress, TrainProgress
from edgetl.train.recipes import (
    Phase,
    build_optimizer,
    first_trained,
    phases,
    set_trainable,
)
from edgetl.train.source_feed import SourceFeed
from edgetl.train.state import (
    EpochRecord,
    TrainingState,
    best_record,
    load_state,
    restore_optimizer,
    save_state,
)
from edgetl.train.terms.base import Term
from edgetl.train.trouble import diverged, memory_said


@dataclass(kw_only=True)
class Run:
    """The state of one call of `edgetl.train.loop.finetune`.

    Attributes:
        config: What was asked for.
        parts: The network and what surrounds it; trained in place.
        train, val: The splits in memory.
        loss: On the labels of a batch.
        folder: Where the states go.
        digest: Of everything that the run was started with.
        progress: Told in the first process only.
        logs: The folder of TensorBoard's event files.
        terms: What is added to the loss.
        sources: Other data that the terms train on.
        depth: Of the network, where only a part of its body trains, or at other rates.
        head_decay: The weight decay of head phases.
        records: The history so far.
    """

    config: FinetuneConfig
    parts: Parts
    train: Batches
    val: Batches
    loss: DataLoss
    folder: Path
    digest: str
    progress: Progress | None
    logs: Path
    terms: tuple[Term, ...] = ()
    sources: tuple[SourceFeed, ...] = ()
    depth: Depth | None = None
    head_decay: float = 0.0
    records: list[EpochRecord] = field(default_factory=list)
    _stored: TrainingState | None = None
    _began: float = field(default_factory=time.monotonic)
    _steps_done: int = 0

    def resume(self) -> int:
        """Go back to the last whole epoch on disk; returns how many were done."""
        # One process first: it may remove what belongs to another run.
        with self.parts.accelerator.main_process_first():
            state = load_state(self.folder, self.digest)
        if state is None:
            return 0
        self.parts.network.load_state_dict(state.weights)
        nn.ModuleList(self.terms).load_state_dict(state.terms)
        if state.scaler and self.parts.accelerator.scaler is not None:
            self.parts.accelerator.scaler.load_state_dict(state.scaler)
        self.records = list(state.records)
        self._stored = state
        return len(self.records)

    def train_all(self) -> None:
        """Every phase that is not over yet.

        Raises:
            CheckpointError: For numbers that are not finite.
            ConfigError: When the memory does not suffice, with what to try.
        """
        check_shares(self.train.labels.numpy(), self.config, self.parts.accelerator.num_processes)
        with memory_said(self.config), self._logging() as logs:
            for phase in phases(self.config):
                if self._is_over(phase):
                    continue
                if phase.solved:
                    self._take_solved(phase, logs)
                else:
                    self._train_phase(phase, logs)

    def _logging(self) -> AbstractContextManager[Logs | None]:
        over = all(map(self._is_over, phases(self.config)))
        if over or not self.parts.accelerator.is_main_process:
            return nullcontext()
        return Logs(self.logs, done=len(self.records))

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

    def _thaw(self, phase: Phase, done: int) -> int:
        """Make trainable what trains after so many epochs of the phase; from which place on."""
        head, first = phase.name == "head", 0
        if phase.name == "all":
            first = first_trained(phase, done, self.depth, train_from=self.config.train_from)
        set_trainable(
            self.parts.network,
            self.parts.head if head else nn.Identity(),
            phase,
            depth=self.depth,
            first=first,
        )
        return first

    def _train_phase(self, phase: Phase, logs: Logs | None) -> None:
        # The optimiser holds what will train in the end: it passes over what has no gradient yet.
        self._thaw(phase, phase.epochs)
        terms = tuple(term for term in self.terms if phase.name != "head" or term.in_head_phase)
        alone = phase.name == "head" and self.parts.has_features and not terms
        feed: Feed = (FeatureFeed if alone else ImageFeed)(self.parts, self.train, self.val)
        plain = build_optimizer(
            self._objective(feed, terms),
            learning_rate=phase.learning_rate,
            weight_decay=self.head_decay if phase.name == "head" else self.config.weight_decay,
            kind=self.config.optimizer,
            scales=self._scales(phase),
        )
        decay = self.config.ema
        average = None if decay is None else Average(self.parts.network, decay)
        if self._done(phase) and self._stored is not None:
            restore_optimizer(plain, self._stored.optimizer)
            if average is not None:
                average.restore(self._stored.average)
        stepper, wrapped = None, -1
        while not self._is_over(phase):
            first = self._thaw(phase, len(self._done(phase)))
            if stepper is not None and wrapped != first:
                # Anew when more trains: processes exchange what trained when it was wrapped.
                self.parts.accelerator.free_memory()
                stepper = None
            if stepper is None:
                stepper, wrapped = self._stepper(feed, terms, plain, average), first
            self._train_epoch(phase, stepper, plain, logs)
        self.parts.accelerator.free_memory()

    def _objective(self, feed: Feed, terms: tuple[Term, ...]) -> Objective:
        network, head = self.parts.network, self.parts.head
        return Objective(feed.trained(), self.loss, terms, network=network, head=head)

    def _stepper(
        self,
        feed: Feed,
        terms: tuple[Term, ...],
        plain: torch.optim.Optimizer,
        average: Average | None,
    ) -> Stepper:
        accelerator = self.parts.accelerator
        model, optimizer = accelerator.prepare(self._objective(feed, terms), plain)
        return Stepper(
            config=self.config,
            accelerator=accelerator,
            feed=feed,
            sources=self.sources if terms else (),
            model=model,
            names=tuple(term.name for term in terms),
            optimizer=plain if accelerator.scaler is None else optimizer,
            average=average,
            network=self.parts.network,
            # On the CPU its cores are busy with the network already.
            ahead=self.parts.device.type == "cuda" and not self.parts.changes.draw_from_torch,
        )

    def _scales(self, phase: Phase) -> dict[Tensor, float] | None:
        """What each parameter's rate is multiplied by, where more than the head trains."""
        if self.config.layer_decay == 1 or phase.name == "head" or self.depth is None:
            return None
        return {
            parameter: self.config.layer_decay ** self.depth.below_head(name)
            for name, parameter in self.parts.network.named_parameters()
        }

    def _train_epoch(
        self, phase: Phase, stepper: Stepper, plain: torch.optim.Optimizer, logs: Logs | None
    ) -> None:
        began = time.monotonic()
        number = len(self.records) + 1
        at = Position(
            epoch=number,
            done=len(self._done(phase)),
            epochs=phase.epochs,
            peak=phase.learning_rate,
        )

        def tell(step: int, steps: int, loss: float, rate: float) -> None:
            self._tell(phase, number, step, steps, loss, rate)

        means = stepper.epoch(self.train.labels.numpy(), at, tell=tell, diverged=diverged)
        average = stepper.average
        network = self.parts.network if average is None else average.network
        figures = self._agree(
            lambda: self._validate(stepper.feed, network, number, means.learning_rate)
        )
        terms = dict(zip(stepper.names, means.parts[1:], strict=True))
        record = _record(number, phase, means, figures, terms)
        self._finish_epoch(phase, record, plain, average, logs, time.monotonic() - began)

    def _take_solved(self, phase: Phase, logs: Logs | None) -> None:
        """The record of a head that was solved before: nothing trains."""
        began = time.monotonic()
        number = len(self.records) + 1
        self._thaw(phase, 0)
        feed = FeatureFeed(self.parts, self.train, self.val)
        loss = self._agree_on(lambda: (feed.training_loss(self.loss),))[0]
        figures = self._agree(lambda: self._validate(feed, self.parts.network, number, 0.0))
        means = Means(loss=loss, parts=(loss,), learning_rate=0.0)
        record = _record(number, phase, means, figures, {})
        self._finish_epoch(phase, record, None, None, logs, time.monotonic() - began)

    def _finish_epoch(
        self,
        phase: Phase,
        record: EpochRecord,
        optimizer: torch.optim.Optimizer | None,
        average: Average | None,
        logs: Logs | None,
        seconds: float,
    ) -> None:
        self.records.append(record)
        if self.parts.accelerator.is_main_process:
            scaler = self.parts.accelerator.scaler
            save_state(
                self.folder,
                self.digest,
                self.records,
                self.parts.network.state_dict(),
                optimizer,
                average=None if average is None else average.state(),
                terms=nn.ModuleList(self.terms).state_dict(),
                scaler=None if scaler is None else scaler.state_dict(),
            )
            if logs is not None:
                logs.epoch(record, seconds)
        self.parts.accelerator.wait_for_everyone()
        steps = steps_of(len(self.train.labels), self.config)
        self._tell(phase, record.epoch, steps, steps, record.loss, record.learning_rate, record)

    def _validate(self, feed: Feed, network: nn.Module, epoch: int, rate: float) -> ValMetrics:
        raw_logits = feed.validate(network)
        if not np.isfinite(raw_logits).all():
            raise diverged("logits on val that are not finite", f"epoch {epoch}", rate)
        return val_metrics(raw_logits, self.val.labels.numpy())

    def _agree(self, measure: Callable[[], ValMetrics]) -> ValMetrics:
        """The first process measures and tells the others, so that all stop at one epoch."""
        top1, nll, ece, entropy = self._agree_on(lambda: tuple(asdict(measure()).values()), 4)
        return ValMetrics(top1=top1, nll=nll, ece=ece, entropy=entropy)

    def _agree_on(
        self, measure: Callable[[], tuple[float, ...]], count: int = 1
    ) -> tuple[float, ...]:
        if self.parts.accelerator.num_processes == 1:
            return measure()
        with extra("train"):
            from accelerate.utils import broadcast
        own = measure() if self.parts.accelerator.is_main_process else (0.0,) * count
        numbers = torch.tensor(own, dtype=torch.float64).to(self.parts.device)
        return tuple(broadcast(numbers).tolist())

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
        if record is None:
            self._steps_done += 1
        if self.progress is None or not self.parts.accelerator.is_main_process:
            return
        epochs = sum(each.epochs for each in phases(self.config))
        seconds = time.monotonic() - self._began
        left = (epochs - epoch) * steps + steps - step
        self.progress(
            TrainProgress(
                phase=phase.name,
                epoch=epoch,
                epochs=epochs,
                step=step,
                steps=steps,
                loss=loss,
                learning_rate=rate,
                record=record,
                seconds=seconds,
                eta_seconds=seconds / self._steps_done * left if self._steps_done else None,
            )
        )


def _record(
    number: int, phase: Phase, means: Means, figures: ValMetrics, terms: dict[str, float]
) -> EpochRecord:
    return EpochRecord(
        epoch=number,
        phase=phase.name,
        loss=means.loss,
        learning_rate=means.learning_rate,
        terms=terms,
        **asdict(figures),
    )
