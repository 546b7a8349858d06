"""What a run tells while it trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgetl.train.state import EpochRecord


@dataclass(frozen=True, kw_only=True)
class TrainProgress:
    """Where training is: told after every step, and once more when an epoch is on the disk.

    Attributes:
        phase: ``"head"``, ``"all"`` or ``"lora"``.
        epoch, epochs: From 1, over all phases; `epochs` is the most there can be.
        step, steps: From 1, within the epoch.
        loss: Mean over the epoch so far, in nats.
        learning_rate: Of this step.
        record: The epoch's figures, once it is evaluated and stored; None before.
        seconds: Since this call began to train.
        eta_seconds: What is left at the pace of this call, were all epochs needed; None before
            the first step is done.
    """

    phase: str
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    record: EpochRecord | None = None
    seconds: float = 0.0
    eta_seconds: float | None = None


Progress = Callable[[TrainProgress], None]
