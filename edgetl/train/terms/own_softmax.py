"""New classes in a softmax of their own, where training sees no image of the old ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgetl.errors import ConfigError
from edgetl.train.terms.base import Start, Step, Term


@dataclass(frozen=True, kw_only=True)
class OwnSoftmax:
    """Makes of the cross-entropy over all classes that over the new ones, for new images.

    Cross-entropy over all classes teaches from new images alone that the old never occur, and
    that is what is forgotten first. In learning without forgetting each task has its own softmax
    (Li and Hoiem 2016, arXiv:1606.09282, equation 1). The term is the mean of log P(a new class),
    which turns LSE(all logits) - z into LSE(new logits) - z; of images of old classes it is 0.

    It belongs beside plain cross-entropy (also with MixUp): with label smoothing, class weights
    or another loss the sum would have no lower bound.

    Attributes:
        known: How many of the first outputs are old classes, from 1.

    Raises:
        ConfigError: For another `known`.

    Example:
        >>> OwnSoftmax(known=5).digest["known"]
        5
    """

    known: int

    def __post_init__(self) -> None:
        if type(self.known) is not int or self.known < 1:
            raise ConfigError(
                "own_softmax.known",
                got=repr(self.known),
                expected="the number of old classes, from 1",
                fix="leave the term out where there is none",
            )

    @property
    def digest(self) -> Mapping[str, Any]:
        """What decides the term."""
        return {"term": "own-softmax", "known": self.known}

    def build(self, start: Start) -> Term:
        """The term.

        Raises:
            ConfigError: When no class is new.
        """
        if self.known >= len(start.classes):
            raise ConfigError(
                "own_softmax.known",
                got=f"{self.known} old ones of {len(start.classes)} classes",
                expected="at least one new class",
                fix="leave the term out where there is none",
            )
        return _OwnSoftmaxTerm(self.known)


class _OwnSoftmaxTerm(Term):
    name = "own-softmax"
    in_head_phase = True

    def __init__(self, known: int) -> None:
        super().__init__()
        self._known = known

    def forward(self, step: Step) -> Tensor:
        raw = step.raw_logits.float()
        of_new = raw[:, self._known :].logsumexp(1) - raw.logsumexp(1)
        new = step.labels >= self._known
        if step.targets is not None:
            new = (step.targets[:, : self._known] == 0).all(1)
        return torch.where(new, of_new, torch.zeros_like(of_new)).mean()
