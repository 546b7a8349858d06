"""Rates are functions of the step alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgetl.train.schedule import learning_rate_at


@pytest.mark.parametrize("steps", [1, 2, 7, 100, 1000])
def test_the_schedule_warms_up_once_and_falls_to_nearly_zero(steps: int) -> None:
    rates = np.array([learning_rate_at(step, steps, 0.5) for step in range(steps)])
    peak = int(rates.argmax())
    assert rates.max() == 0.5 and (rates > 0).all()
    assert (np.diff(rates[: peak + 1]) > 0).all() and (np.diff(rates[peak:]) <= 0).all()
    assert peak < max(2, steps // 5)
    if steps >= 100:
        assert rates[-1] < 0.001


@pytest.mark.parametrize("schedule", ["linear", "constant", "step"])
def test_the_other_schedules_are_those_of_pytorch_after_the_warm_up(schedule: str) -> None:
    steps, warm_up = 40, 4
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    left = steps - warm_up
    oracle: torch.optim.lr_scheduler.LRScheduler = {
        "linear": torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=left),
        "constant": torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0),
        "step": torch.optim.lr_scheduler.StepLR(optimizer, step_size=left // 3, gamma=0.1),
    }[schedule]
    for group in optimizer.param_groups:
        group["lr"] = 0.5
    want = []
    for _ in range(left):
        want.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        oracle.step()
    got = [learning_rate_at(step, steps, 0.5, schedule) for step in range(warm_up, steps)]  # type: ignore[arg-type]
    np.testing.assert_allclose(got, want, rtol=1e-9)
    rising = [learning_rate_at(step, steps, 0.5, schedule) for step in range(warm_up)]  # type: ignore[arg-type]
    np.testing.assert_allclose(rising, [0.125, 0.25, 0.375, 0.5])
