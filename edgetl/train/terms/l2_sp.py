"""L2-SP: a pull toward the starting weights in place of one toward zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgetl.errors import ConfigError
from edgetl.reference.ending import OUTPUT
from edgetl.train.terms.base import Start, Step, Term
from edgetl.train.terms.checks import (
    anchored,
    check_weight,
    head_block,
    weights_by_name,
)


@dataclass(frozen=True, kw_only=True)
class L2Sp:
    """weight/2 ||w - w0||^2 over the body, and head_weight/2 ||w||^2 over the new head.

    Li, Grandvalet and Davoine 2018, arXiv:1802.01483, equation 3. The starting weights w0 are
    what the network was given before its first step. Every parameter of the body counts, those of
    normalisation too; running statistics are no parameters and do not.

    Attributes:
        weight: The paper's alpha, from 0.
        head_weight: The paper's beta, from 0. The optimiser's own weight decay comes on top, so
            set that to 0 where this one is to act alone.

    Raises:
        ConfigError: For a weight below 0, NaN or infinite.

    Example:
        >>> L2Sp(weight=0.1).digest["head_weight"]
        0.0
    """

    weight: float
    head_weight: float = 0.0

    def __post_init__(self) -> None:
        check_weight("l2_sp.weight", self.weight)
        check_weight("l2_sp.head_weight", self.head_weight)

    @property
    def digest(self) -> Mapping[str, Any]:
        """What decides the term: the starting weights are in the run's own digest."""
        return {"term": "l2-sp", "weight": self.weight, "head_weight": self.head_weight}

    def build(self, start: Start) -> Term:
        """The term, with a copy of the starting weights.

        Raises:
            ConfigError: For a weight of the head where none is named.
        """
        if start.layer == OUTPUT and self.head_weight > 0:
            raise ConfigError(
                "l2_sp.head_weight",
                got=f"{self.head_weight} with head = '{OUTPUT}', which names no layer",
                expected="the name of the last linear layer",
                fix="write head = NAME in [finetune], or leave head_weight out",
            )
        return _L2SpTerm(self, start)


class _L2SpTerm(Term):
    name = "l2-sp"

    def __init__(self, maker: L2Sp, start: Start) -> None:
        super().__init__()
        self.in_head_phase = maker.head_weight > 0
        self._maker = maker
        head = f"{head_block(start.network, start.layer)}."
        self._anchors: dict[str, Tensor] = {}
        self._head: dict[str, Tensor] = {}
        for name, parameter in start.network.named_parameters():
            if not name.startswith(head):
                self._anchors[name] = parameter.detach().clone()
        for name, weight in weights_by_name(start.network).items():
            # A head of cosines counts by the weight, not by the directions that it is made of.
            if name.startswith(head) and ".parametrizations." not in name:
                self._head[name] = torch.zeros_like(weight.detach())

    def forward(self, step: Step) -> Tensor:
        body = self._squares(step, self._anchors)
        head = self._squares(step, self._head) if self._maker.head_weight > 0 else 0.0
        return 0.5 * (self._maker.weight * body + self._maker.head_weight * head)

    def _squares(self, step: Step, anchors: Mapping[str, Tensor]) -> Tensor:
        total = step.raw_logits.new_zeros((), dtype=torch.float32)
        for name, parameter in anchored("l2_sp", step.network, anchors):
            total = total + (parameter.float() - anchors[name]).square().sum()
        return total
