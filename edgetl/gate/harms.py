"""The harms that are gated: what was seen, its bounds, and how many samples would decide it.

Every harm is positive when the candidate is worse, so that all gates read alike: PASS when the
upper bound is under the limit, and harm is shown when the lower bound is over it. A harm that
counts either way, as a gap of confidence does, is the absolute value of a difference.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edgetl.calibration import log_temperature_ratio as temperature_ratio
from edgetl.metrics import correct, flips, paired_counts, per_image_brier, per_image_nll
from edgetl.stats import (
    clopper_pearson,
    mean_bounds,
    mean_sample_size,
    quantile_minimum,
    rate_sample_size,
    structural_minimum,
    tango,
    tango_sample_size,
)

Probabilities = NDArray[np.float64]
Labels = NDArray[np.int64]

FLOOR = 1e-12
"""A smaller probability counts as this in a logarithm."""

_POWER = 0.8


# Classes share their few counts, and every gate is asked at several levels.
@functools.lru_cache(maxsize=4096)
def _tango(b: int, c: int, n: int, confidence: float) -> tuple[float, float]:
    return tango(b, c, n, confidence=confidence)


def _no_minimum(_alpha: float) -> int:
    return 0


def _no_remark(_alpha: float, _verdict: str) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Harm:
    """One harm of a candidate.

    Attributes:
        name: The gate's.
        limit: The policy's.
        n: Images, rounds or calls.
        estimate: The harm seen; NaN where it is unknown.
        none: The value that means no harm: 0, and 1 for a ratio.
        bounds: alpha -> (lower, upper), each one-sided at 1 − alpha.
        size: (true harm, alpha) -> how many samples decide with 80 % power, or None.
        minimum: alpha -> with fewer samples nothing passes, whatever is seen.
        remark: (alpha, verdict) -> what the figures do not say.
        unknown: Why the data bound it in no way; empty where they do.
        undefined: Whether it is unknown because neither side has what is compared.
        exact: Whether it is a figure without an error: it passes at its limit, too.
    """

    name: str
    limit: float
    n: int
    estimate: float
    none: float = 0.0
    bounds: Callable[[float], tuple[float, float]]
    size: Callable[[float, float], int | None]
    minimum: Callable[[float], int] = _no_minimum
    remark: Callable[[float, str], str] = _no_remark
    unknown: str = ""
    undefined: bool = False
    exact: bool = False

    def exceeds(self, alpha: float) -> bool:
        """Whether it is shown to be over its limit, at one-sided level alpha.

        A lower bound is never over what was seen, so most harms need none to be said no to.
        """
        return self.estimate > self.limit and self.bounds(alpha)[0] > self.limit

    def more_samples(self, alpha: float, alpha_of_fail: float | None = None) -> int | None:
        """How many further samples would decide, if the harm is really what was seen.

        A harm seen right on the limit is decided by no number. The plan is then made for no harm
        at all; if there were samples enough for that already, the answer is None.

        Args:
            alpha: What the upper bound has to be under the limit at.
            alpha_of_fail: What the lower bound has to be over it at, where Holm's procedure has
                several gates share alpha; alpha when left out.
        """
        if self.unknown:
            return None
        over = self.estimate > self.limit
        level = alpha if alpha_of_fail is None or not over else alpha_of_fail
        total = self.size(self.estimate, level)
        if total is not None:
            return max(1, total - self.n)
        total = self.size(self.none, alpha)
        return total - self.n if total is not None and total > self.n else None


def top1_drop(
    reference: Probabilities, candidate: Probabilities, labels: Labels, limit: float
) -> Harm:
    """Accuracy lost, (c − b)/n, by Tango's score interval."""
    _, b, c, _ = paired_counts(reference, candidate, labels)
    return drop_of_counts("top1_drop", b, c, len(labels), limit)


def drop_of_counts(name: str, b: int, c: int, n: int, limit: float) -> Harm:
    """Accuracy lost on n images, of which b only the candidate gets right, c only the reference."""

    def bounds(alpha: float) -> tuple[float, float]:
        low, high = _tango(b, c, n, 1 - 2 * alpha)
        return -high, -low

    def size(harm: float, alpha: float) -> int | None:
        return tango_sample_size(-harm, (b + c) / n, limit, alpha=alpha)

    def minimum(alpha: float) -> int:
        return structural_minimum(limit, alpha)

    return Harm(
        name=name,
        limit=limit,
        n=n,
        estimate=(c - b) / n,
        bounds=bounds,
        size=size,
        minimum=minimum,
    )


def nll_increase(
    reference: Probabilities, candidate: Probabilities, labels: Labels, limit: float
) -> Harm:
    """Mean increase of the negative log-likelihood, nats."""
    increase = per_image_nll(candidate, labels) - per_image_nll(reference, labels)
    return _mean("nll", increase, limit)


def brier_increase(
    reference: Probabilities, candidate: Probabilities, labels: Labels, limit: float
) -> Harm:
    """Mean increase of the Brier score, summed over classes."""
    increase = per_image_brier(candidate, labels) - per_image_brier(reference, labels)
    return _mean("brier", increase, limit)


def confidence_gap(
    reference: Probabilities, candidate: Probabilities, labels: Labels, limit: float
) -> Harm:
    """How far mean confidence moved against accuracy: |mean of Δ(confidence − correct)|.

    Confidence is the greatest probability. Two one-sided tests (TOST) on the mean of the paired
    differences, in place of a difference of ECE, which is biased most for a calibrated reference.
    """
    gap = _confidence_minus_correct(candidate, labels) - _confidence_minus_correct(
        reference, labels
    )
    words = ("more confident for what it knows", "less confident for what it knows")
    return _either_way("confidence_gap", gap, limit, words)


def log_temperature_ratio(
    reference: Probabilities, candidate: Probabilities, labels: Labels, limit: float
) -> Harm:
    """|log(T_candidate / T_reference)|, T what would fit each side on these images.

    Two one-sided tests by the paired influence functions of the two fits. Where a side has no
    finite temperature, as one that answers every image right, nothing is known of the ratio.
    """
    found = temperature_ratio(_logs(reference), _logs(candidate), labels)
    if found.at_bound:
        return _unknown_ratio(reference, candidate, labels, limit)
    words = ("sharper than the reference", "softer than the reference")
    return _either_way("log_temperature_ratio", found.values, limit, words)


def flip_rate(reference: Probabilities, candidate: Probabilities, limit: float) -> Harm:
    """Share of inputs whose top class changes, by Clopper and Pearson's exact interval."""
    n = len(reference)
    count = flips(reference, candidate)

    def bounds(alpha: float) -> tuple[float, float]:
        return clopper_pearson(count, n, confidence=1 - 2 * alpha)

    def size(harm: float, alpha: float) -> int | None:
        return rate_sample_size(harm, limit, alpha=alpha)

    def minimum(alpha: float) -> int:
        # Without a flip the bound is the quantile that no image of n was above.
        return quantile_minimum(1 - limit, confidence=1 - alpha)

    return Harm(
        name="flips",
        limit=limit,
        n=n,
        estimate=count / n,
        bounds=bounds,
        size=size,
        minimum=minimum,
    )


def _confidence_minus_correct(probabilities: Probabilities, labels: Labels) -> Probabilities:
    gap: Probabilities = probabilities.max(axis=1) - correct(probabilities, labels)
    return gap


def _logs(probabilities: Probabilities) -> Probabilities:
    logs: Probabilities = np.log(np.maximum(probabilities, FLOOR))
    return logs


def _unknown_ratio(
    reference: Probabilities, candidate: Probabilities, labels: Labels, limit: float
) -> Harm:
    sides = {"the reference": reference, "the candidate": candidate}
    right = [name for name, side in sides.items() if correct(side, labels).all()]
    return Harm(
        name="log_temperature_ratio",
        limit=limit,
        n=len(labels),
        estimate=math.nan,
        bounds=lambda _alpha: (0.0, math.inf),
        size=lambda _harm, _alpha: None,
        unknown=f"no finite temperature fits {' and '.join(right)}, right on every image"
        if right
        else "no temperature from 0.05 to 20 fits both sides",
        undefined=len(right) == len(sides),
    )


def _mean(name: str, increase: NDArray[np.float64], limit: float) -> Harm:
    def bounds(alpha: float) -> tuple[float, float]:
        return mean_bounds(increase, confidence=1 - 2 * alpha)

    def size(harm: float, alpha: float) -> int | None:
        return mean_sample_size(increase, limit, alpha=alpha, mean=harm)

    return Harm(
        name=name,
        limit=limit,
        n=len(increase),
        estimate=float(increase.mean()),
        bounds=bounds,
        size=size,
    )


def _either_way(
    name: str, difference: NDArray[np.float64], limit: float, words: tuple[str, str]
) -> Harm:
    """The absolute value of a mean: both of its one-sided bounds have to be within the limit."""
    mean = float(difference.mean())
    towards = difference if mean >= 0 else -difference

    def bounds(alpha: float) -> tuple[float, float]:
        low, high = mean_bounds(difference, confidence=1 - 2 * alpha)
        within = low <= 0 <= high
        return 0.0 if within else min(abs(low), abs(high)), max(abs(low), abs(high))

    def size(harm: float, alpha: float) -> int | None:
        power = power_of_one_side(harm / limit, alpha)
        return mean_sample_size(towards, limit, power, alpha, mean=harm)

    def remark(_alpha: float, verdict: str) -> str:
        if verdict == "PASS":
            return ""
        return f"the candidate is {words[mean < 0]} ({mean:+.4g})"

    return Harm(
        name=name,
        limit=limit,
        n=len(difference),
        estimate=abs(mean),
        bounds=bounds,
        size=size,
        remark=remark,
    )


def power_of_one_side(share: float, alpha: float) -> float:
    """The power that the nearer of two one-sided tests needs for 80 % that both of them pass.

    Args:
        share: The true harm over the limit; at 1 and above it a single test decides, for harm.
        alpha: Of each test.

    Returns:
        0.8 to 0.9: at no harm both sides are equally far, and share the 20 % that is left.

    Example:
        >>> [round(power_of_one_side(share, 0.05), 3) for share in (0.0, 0.1, 0.5, 1.0)]
        [0.9, 0.851, 0.8, 0.8]
    """
    if share >= 1:
        return _POWER
    normal = NormalDist()
    z, ratio = normal.inv_cdf(1 - alpha), (1 + share) / (1 - share)
    low, high = _POWER, (1 + _POWER) / 2
    for _ in range(30):
        middle = (low + high) / 2
        far = normal.cdf(z - (z + normal.inv_cdf(middle)) * ratio)
        low, high = (low, middle) if middle - far >= _POWER else (middle, high)
    return high
