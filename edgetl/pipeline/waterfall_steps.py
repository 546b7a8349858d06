"""Consecutive answers to the same inputs, and how far each is from the one before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgetl.metrics import flips, kl
from edgetl.spec import Array

StepName = Literal["decode", "resize", "export", "precision", "backend", "device", "total"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """Two answers to the same inputs, compared.

    Attributes:
        name: What changes between them.
        before, after: Who gave them.
        flips: Inputs whose top class changes.
        flip_rate: Their share.
        mean_kl: Mean over the inputs of KL(before ‖ after), in nats.
        max_difference: The greatest change of any probability of any input.
        note: What one should know about it, or why it was skipped.
        skipped: Nothing was measured: the step does not change anything here, or is part of the
            next one. Its figures are 0, and `before` is `after`.
    """

    name: StepName
    before: str
    after: str
    flips: int = 0
    flip_rate: float = 0.0
    mean_kl: float = 0.0
    max_difference: float = 0.0
    note: str = ""
    skipped: bool = False

    def to_json(self) -> dict[str, Any]:
        """The step as plain data; `before` and `after` are called ``from`` and ``to``."""
        return {
            "name": self.name,
            "from": self.before,
            "to": self.after,
            "flips": self.flips,
            "flip_rate": self.flip_rate,
            "mean_kl": self.mean_kl,
            "max_difference": self.max_difference,
            "note": self.note,
            "skipped": self.skipped,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Trail:
    """The steps so far, with the first answers and the last.

    Example:
        >>> trail = Trail.begun("PyTorch", np.array([[0.9, 0.1], [0.6, 0.4]]))
        >>> trail = trail.skipped("resize", "a tensor is used as it is")
        >>> trail = trail.to("export", "ONNX", np.array([[0.9, 0.1], [0.4, 0.6]]))
        >>> [(step.name, step.flips) for step in trail.steps], trail.total().flip_rate
        ([('resize', 0), ('export', 1)], 0.5)
    """

    said: tuple[str, str]
    first: NDArray[np.float64]
    last: NDArray[np.float64]
    steps: tuple[Step, ...] = ()

    @classmethod
    def begun(cls, said: str, answers: Array) -> Trail:
        """Begin with somebody's probabilities, [n, K]."""
        exact = _exact(answers)
        return cls(said=(said, said), first=exact, last=exact)

    def to(self, name: StepName, said: str, answers: Array, note: str = "") -> Trail:
        """Go on to other answers to the same inputs."""
        exact = _exact(answers)
        step = _compared(name, (self.said[1], said), self.last, exact, note)
        return replace(self, said=(self.said[0], said), last=exact, steps=(*self.steps, step))

    def skipped(self, name: StepName, note: str) -> Trail:
        """Stay where the answers are, and say why."""
        here = self.said[1]
        step = Step(name=name, before=here, after=here, note=note, skipped=True)
        return replace(self, steps=(*self.steps, step))

    def total(self) -> Step:
        """The first answers compared with the last."""
        return _compared("total", self.said, self.first, self.last, "")


def _exact(answers: Array) -> NDArray[np.float64]:
    """Rows that sum to 1 in float64: the rounding of float32 sums would be seen in the KL."""
    wide = np.asarray(answers, np.float64)
    exact: NDArray[np.float64] = wide / wide.sum(axis=1, keepdims=True)
    return exact


def _compared(
    name: StepName,
    said: tuple[str, str],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    note: str,
) -> Step:
    changed = flips(before, after)
    return Step(
        name=name,
        before=said[0],
        after=said[1],
        flips=changed,
        flip_rate=changed / len(before),
        # No divergence is below 0; its rounding may be.
        mean_kl=max(0.0, kl(before, after)),
        max_difference=float(np.abs(before - after).max()),
        note=note,
    )
