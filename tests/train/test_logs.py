"""TensorBoard reads what a run writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetl.train.logs import Logs
from edgetl.train.state import EpochRecord


def _record(epoch: int, **terms: float) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        phase="all",
        loss=1.0 / epoch,
        learning_rate=0.1,
        top1=0.5,
        nll=0.7,
        ece=0.1,
        entropy=0.2,
        terms=terms,
    )


def test_the_figures_of_every_epoch_are_read_back(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Logs(tmp_path, done=0) as logs:
        for epoch in (1, 2, 3):
            logs.epoch(_record(epoch), 2.5)
    # A call that goes on after the second epoch: the third of the first call is hidden.
    with Logs(tmp_path, done=2) as logs:
        logs.epoch(_record(3, joint=0.25), 4.0)
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert [(one.step, one.value) for one in read.Scalars("terms/joint")] == [(3, 0.25)]
    assert {one.step for one in read.Scalars("train/loss")} == {1, 2, 3}
    assert [one.value for one in read.Scalars("seconds")] == pytest.approx([2.5, 2.5, 4.0])
    assert "val/nll" in read.Tags()["scalars"]
