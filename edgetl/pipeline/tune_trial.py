"""One trial of a search: the finetune stage's own training with other values, judged on val."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgetl.errors import CheckpointError, ConfigError
from edgetl.pipeline.config import ReleaseConfig, training_config
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.events import Reporter, ignore
from edgetl.pipeline.run_folder import RunFolder
from edgetl.pipeline.stages.finetune import starting_weights, train
from edgetl.train.progress import TrainProgress
from edgetl.train.state import best_record

EpochHeard = Callable[[int, float, bool], None]
"""Told after each epoch: its number, its NLL on val, and whether it is the last there can be."""


class RefusedError(Exception):
    """Values that cannot be trained: they do not fit one another, or training diverged."""


@dataclass(frozen=True, kw_only=True)
class TrialFigures:
    """The epoch that a trial keeps: the lowest NLL on val.

    Attributes:
        nll: In nats.
        top1, ece: Of the same epoch.
        best_epoch, epochs: Which it is, and how many were trained.
        seconds: That the trial took.
    """

    nll: float
    top1: float
    ece: float
    best_epoch: int
    epochs: int
    seconds: float


def run_trial(
    config: ReleaseConfig, root: Path, scratch: Path, *, heard: EpochHeard
) -> TrialFigures:
    """Train once on the run's train split and judge every epoch on its val split.

    No other split is read. What the training leaves in `scratch` is removed.

    Args:
        config: With the trial's values in ``[finetune]``.
        root: The run's folder, whose data stage is done.
        scratch: A folder of the trial's own.
        heard: Told after each epoch; what it raises ends the trial.

    Raises:
        RefusedError: When the values cannot be trained.
    """
    began = time.monotonic()
    context = StageContext(
        config=config, folder=RunFolder(root), reporter=Reporter("search", ignore), scratch=scratch
    )
    assert config.finetune is not None

    def hear(now: TrainProgress) -> None:
        if now.record is not None:
            heard(now.epoch, now.record.nll, now.epoch >= now.epochs)

    try:
        _check(config)
        result = train(context, starting_weights(context, config.finetune), progress=hear)
    except ConfigError as error:
        raise RefusedError(f"{error.subject}: {error.got}") from error
    except CheckpointError as error:
        if error.subject != "training":
            raise
        raise RefusedError(error.got) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    best = best_record(result.records)
    return TrialFigures(
        nll=best.nll,
        top1=best.top1,
        ece=best.ece,
        best_epoch=best.epoch,
        epochs=len(result.records),
        seconds=time.monotonic() - began,
    )


def _check(config: ReleaseConfig) -> None:
    """Before letters are pretrained, which takes minutes."""
    training_config(config, weights="none")
