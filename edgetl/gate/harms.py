"""The harms that are gated: what was seen, its bounds, and how many samples would decide it.

Every harm is positive when the candidate is worse, so that all gates read alike: PASS when the
upper bound is under the limit, and harm is shown when the lower bound is over it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetl.bench.compare import Pair
from edgetl.gate.verdict import LATENCY
from edgetl.metrics import flips, paired_counts, per_image_brier, per_image_nll
from edgetl.stats import (
    clopper_pearson,
    paired_t_bounds,
    paired_t_sample_size,
    rate_sample_size,
    tango,
    tango_sample_size,
)

Probabilities = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Harm:
    """One harm of a candidate.

    Attributes:
        name: The gate's.
        limit: The policy's.
        n: Images, or rounds.
        estimate: The harm seen.
        none: The value that means no harm: 0, and 1 for a ratio.
        bounds: alpha -> (lower, upper), each one-sided at 1 − alpha.
        size: (true harm, alpha) -> how many samples decide with 80 % power, or None.
    """

    name: str
    limit: float
    n: int
    estimate: float
    none: float = 0.0
    bounds: Callable[[float], tuple[float, float]]
    size: Callable[[float, float], int | None]

    def more_samples(self, alpha: float) -> int | None:
        """How many further samples would decide, if the harm is really what was seen.

        A harm seen right on the limit is decided by no number. The plan is then made for no harm
        at all; if there were samples enough for that already, the answer is None.
        """
        total = self.size(self.estimate, alpha)
        if total is not None:
            return max(1, total - self.n)
        total = self.size(self.none, alpha)
        return total - self.n if total is not None and total > self.n else None


def top1_drop(
    reference: Probabilities, candidate: Probabilities, labels: Labels, limit: float
) -> Harm:
    """Accuracy lost, (c − b)/n, by Tango's score interval."""
    _, b, c, _ = paired_counts(reference, candidate, labels)
    n = len(labels)

    def bounds(alpha: float) -> tuple[float, float]:
        low, high = tango(b, c, n, confidence=1 - 2 * alpha)
        return -high, -low

    def size(harm: float, alpha: float) -> int | None:
        return tango_sample_size(-harm, (b + c) / n, limit, alpha=alpha)

    return Harm(name="top1_drop", limit=limit, n=n, estimate=(c - b) / n, bounds=bounds, size=size)


def nll_increase(
    reference: Probabilities, candidate: Probabilities, labels: Labels, limit: float
) -> Harm:
    """Mean increase of the negative log-likelihood, nats, by a paired t interval."""
    increase = per_image_nll(candidate, labels) - per_image_nll(reference, labels)
    return _mean("nll", increase, limit)


def brier_increase(
    reference: Probabilities, candidate: Probabilities, labels: Labels, limit: float
) -> Harm:
    """Mean increase of the Brier score, by a paired t interval."""
    increase = per_image_brier(candidate, labels) - per_image_brier(reference, labels)
    return _mean("brier", increase, limit)


def flip_rate(reference: Probabilities, candidate: Probabilities, limit: float) -> Harm:
    """Share of inputs whose top class changes, by Clopper and Pearson's exact interval."""
    n = len(reference)
    count = flips(reference, candidate)

    def bounds(alpha: float) -> tuple[float, float]:
        return clopper_pearson(count, n, confidence=1 - 2 * alpha)

    def size(harm: float, alpha: float) -> int | None:
        return rate_sample_size(harm, limit, alpha=alpha)

    return Harm(name="flips", limit=limit, n=n, estimate=count / n, bounds=bounds, size=size)


def latency_ratio(pair: Pair, limit: float) -> Harm:
    """p50 of the candidate over that of the reference, by a t interval on log ratios of rounds."""
    logs = pair.log_ratios()

    def bounds(alpha: float) -> tuple[float, float]:
        found = pair.ratio(1 - 2 * alpha)
        return found.lower, found.upper

    def size(harm: float, alpha: float) -> int | None:
        spread = float(logs.std(ddof=1))
        return paired_t_sample_size(math.log(harm), spread, math.log(limit), alpha=alpha)

    return Harm(
        name=LATENCY,
        limit=limit,
        n=pair.rounds,
        estimate=pair.ratio().estimate,
        none=1.0,
        bounds=bounds,
        size=size,
    )


def _mean(name: str, increase: NDArray[np.float64], limit: float) -> Harm:
    def bounds(alpha: float) -> tuple[float, float]:
        return paired_t_bounds(increase, confidence=1 - 2 * alpha)

    def size(harm: float, alpha: float) -> int | None:
        return paired_t_sample_size(harm, float(increase.std(ddof=1)), limit, alpha=alpha)

    return Harm(
        name=name,
        limit=limit,
        n=len(increase),
        estimate=float(increase.mean()),
        bounds=bounds,
        size=size,
    )
