"""Joint training: the cross-entropy of source data beside the target's, one head a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from edgetl.train.terms.base import Start, Step, Term
from edgetl.train.terms.checks import check_weight
from edgetl.train.terms.source_features import (
    SourceSchedule,
    check_heads,
    check_schedule,
    feature_count,
    sides,
    strength,
    without_autocast,
)


@dataclass(frozen=True, kw_only=True)
class JointSource:
    """L = CE(target) + weight x s(p) x the sum over sources of CE(source).

    The body is shared; every source has a linear head of its own, and the target keeps the
    classifier's (hard parameter sharing, Caruana 1997, Multitask Learning). The sources' heads
    train with the network, also while the body is frozen, and are no part of the classifier.
    s follows `schedule` over the phase: `edgetl.train.terms.source_features.strength`.

    Attributes:
        weight: The lambda of each source, from 0.
        schedule: ``"constant"``, ``"linear-down"`` (the target has the last word) or ``"ramp"``.

    Raises:
        ConfigError: For a weight below 0, NaN or infinite, or an unknown schedule.

    Example:
        >>> JointSource(weight=0.5, schedule="linear-down").digest["weight"]
        0.5
    """

    weight: float
    schedule: SourceSchedule = "constant"

    def __post_init__(self) -> None:
        check_weight("source.weight", self.weight)
        check_schedule(self.schedule)

    @property
    def digest(self) -> Mapping[str, Any]:
        """What decides the term; the sources are data of the run."""
        return {"term": "joint", "weight": self.weight, "schedule": self.schedule}

    def build(self, start: Start) -> Term:
        """The term, with a head for each source.

        Raises:
            ConfigError: Without a source, or when the head takes no features.
        """
        return _JointTerm(self, start)


class _JointTerm(Term):
    name = "joint"
    needs_features = True
    # A source's head is as new as the target's: untrained when the body thaws, its first steps
    # would distort the features (Kumar et al. 2022, arXiv:2202.10054).
    in_head_phase = True

    def __init__(self, maker: JointSource, start: Start) -> None:
        super().__init__()
        self._maker = maker
        features = feature_count(start, "joint")
        self.heads = nn.ModuleList(nn.Linear(features, count) for count in start.sources)
        self.heads.to(start.device)

    def forward(self, step: Step) -> Tensor:
        target, sources = sides(step, self.name)
        check_heads(len(sources), len(self.heads), self.name)
        total = target.new_zeros(())
        with without_autocast(target):
            for head, features, source in zip(self.heads, sources, step.sources, strict=True):
                total = total + nn.functional.cross_entropy(head(features), source.labels)
        return self._maker.weight * strength(self._maker.schedule, step.fraction) * total
