"""Deep CORAL: features of source and target with the same covariance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgetl.train.terms.base import Start, Step, Term
from edgetl.train.terms.checks import check_weight
from edgetl.train.terms.source_features import feature_count, sides, without_autocast


def coral_distance(source: Tensor, target: Tensor) -> Tensor:
    """||C_S - C_T||_F^2 / (4 d^2), C the unbiased covariances of the features.

    Sun and Saenko 2016, arXiv:1607.01719, equations 1 to 3. A covariance needs two images: with
    fewer on a side the distance is 0, and so is its gradient.

    Args:
        source: float32 or float64 [m, d].
        target: [n, d], of the same dtype.

    Returns:
        A scalar of that dtype, from 0.

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [2.0, 2.0]])
        >>> float(coral_distance(x, 2 * x)), float(coral_distance(x, x + 5))
        (9.0, 0.0)
    """
    if min(len(source), len(target)) < 2:
        # Still a function of both, so that every process has the same gradients to share.
        return 0.0 * (source.sum() + target.sum())
    apart = _covariance(source) - _covariance(target)
    return apart.square().sum() / (4 * source.shape[1] ** 2)


def _covariance(features: Tensor) -> Tensor:
    centred = features - features.mean(dim=0)
    return centred.T @ centred / (len(features) - 1)


@dataclass(frozen=True, kw_only=True)
class Coral:
    """weight x the sum over sources of `coral_distance` between its features and the target's.

    Sun and Saenko 2016, arXiv:1607.01719. The paper sets the weight so that at the end of training
    it is as large as the loss on labels; over d features it is divided by 4 d^2, so useful
    weights grow with the width.

    Attributes:
        weight: From 0.

    Raises:
        ConfigError: For a weight below 0, NaN or infinite.

    Example:
        >>> Coral(weight=1.0).digest["term"]
        'coral'
    """

    weight: float

    def __post_init__(self) -> None:
        check_weight("source.weight", self.weight)

    @property
    def digest(self) -> Mapping[str, Any]:
        """What decides the term; the sources are data of the run."""
        return {"term": "coral", "weight": self.weight}

    def build(self, start: Start) -> Term:
        """The term.

        Raises:
            ConfigError: Without a source, or when the head takes no features.
        """
        feature_count(start, "coral")
        return _CoralTerm(self)


class _CoralTerm(Term):
    name = "coral"
    needs_features = True

    def __init__(self, maker: Coral) -> None:
        super().__init__()
        self._maker = maker

    def forward(self, step: Step) -> Tensor:
        target, sources = sides(step, self.name)
        with without_autocast(target):
            distances = [coral_distance(source, target) for source in sources]
            return self._maker.weight * torch.stack(distances).sum()
