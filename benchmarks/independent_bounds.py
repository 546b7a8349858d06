"""Bounds of every gate's harm without any code of edgetl: for check_verdict.py.

numpy, scipy and statsmodels only, and other ways to the same figures where there is one: Tango's
limits are roots of the score equation whose constrained likelihood is maximised by another root
search; the value that bounds of a mean add is really appended; a temperature is the root of
numerical derivatives of the log-likelihood; Hodges and Lehmann's interval sorts all pairwise means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import log_softmax
from scipy.stats import binom, norm, skew, t
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

FLOOR = 1e-12  # a probability below this counts as this in a logarithm (docs/gate.md)

Array = NDArray[Any]
Bounds = tuple[float, float]


class Harm:
    """An estimate, and a function that gives both one-sided bounds at a level alpha.

    `exact` says that it is a figure without an error; `undefined` that neither side has what is
    compared, so that the gate may stay unjudged.
    """

    def __init__(
        self,
        estimate: float,
        n: int,
        bounds: Callable[[float], Bounds],
        *,
        exact: bool = False,
        undefined: bool = False,
    ) -> None:
        self.estimate, self.n, self.bounds = estimate, n, bounds
        self.exact, self.undefined = exact, undefined


def only_reference_right(b: int, c: int, n: int, difference: float) -> float:
    """The most likely probability of "only the reference right" when the difference is given."""

    low, high = max(0.0, -difference), (1 - difference) / 2
    width = high - low

    # As a share of the way from the least to the most it can be, nothing cancels at either end.
    def slope(share: float) -> float:
        step = width * share
        gain = (b / (max(0.0, difference) + step) if b else 0.0) + (c / (low + step) if c else 0.0)
        return gain - ((n - b - c) / (width * (1 - share)) if n > b + c else 0.0)

    first, last = 1e-18, 1 - 1e-15
    if slope(first) <= 0:
        return low
    if slope(last) >= 0:
        return high
    return low + width * float(brentq(slope, first, last, xtol=1e-18, rtol=1e-15))


def tango(b: int, c: int, n: int, alpha: float) -> Bounds:
    """One-sided score bounds of (b - c) / n, each at 1 - alpha."""
    z = float(norm.isf(alpha))

    def excess(difference: float, sign: float) -> float:
        # The angle of (z error, distance) is 45 degrees where the statistic is z, and stays
        # defined at b = c = 0, where both vanish at the estimate.
        q = only_reference_right(b, c, n, difference)
        error = math.sqrt(max(0.0, n * (2 * q + difference * (1 - difference))))
        return math.atan2(sign * (b - c - n * difference), z * error) - math.pi / 4

    centre, edge = (b - c) / n, 1 - 1e-12
    low = -1.0 if c == n else brentq(excess, -edge, centre, args=(1.0,), xtol=1e-14)
    high = 1.0 if b == n else brentq(excess, centre, edge, args=(-1.0,), xtol=1e-14)
    return float(low), float(high)


def drop_of_counts(b: int, c: int, n: int) -> Harm:
    """Accuracy lost on n images; nothing is known of none."""

    def bounds(alpha: float) -> Bounds:
        if n == 0:
            return -1.0, 1.0
        low, high = tango(b, c, n, alpha)
        return -high, -low

    return Harm((c - b) / n if n else 0.0, n, bounds)


def worst_of(groups: Sequence[Harm], n: int) -> Harm:
    """The worst class: each at alpha for PASS, at its share of alpha for FAIL."""

    def bounds(alpha: float) -> Bounds:
        lower = max(group.bounds(alpha / len(groups))[0] for group in groups)
        return lower, max(group.bounds(alpha)[1] for group in groups)

    return Harm(max(group.estimate for group in groups), n, bounds)


def rate_harm(k: int, n: int) -> Harm:
    """A rate, by statsmodels' Clopper-Pearson interval."""

    def bounds(alpha: float) -> Bounds:
        low, high = proportion_confint(k, n, alpha=2 * alpha, method="beta")
        return (0.0 if k == 0 else float(low)), (1.0 if k == n else float(high))

    return Harm(k / n, n, bounds)


def mean_bounds(values: Array, alpha: float) -> Bounds:
    """Student's bounds moved by the Cornish-Fisher term of the skewness (Hall 1983), with one more
    value on the side that is bounded, as far out as the farthest; never closer than Student's."""
    if values.min() == values.max():
        return float(values[0]), float(values[0])
    return -_upper(-values, alpha), _upper(values, alpha)


def _upper(values: Array, alpha: float) -> float:
    mean = float(values.mean())
    longer = np.append(values, mean + np.abs(values - mean).max())
    n, quantile = len(longer), float(t.isf(alpha, len(longer) - 1))
    k = max(0.0, float(skew(longer, bias=False)) / math.sqrt(n))
    reach = quantile + k * (1 + 2 * quantile**2) / 6
    corrected = float(longer.mean()) + float(longer.std(ddof=1)) / math.sqrt(n) * reach
    return max(corrected, float(DescrStatsW(values).tconfint_mean(alpha=2 * alpha)[1]))


def mean_harm(increase: Array) -> Harm:
    """A mean of paired differences."""
    return Harm(float(increase.mean()), len(increase), lambda alpha: mean_bounds(increase, alpha))


def either_way(difference: Array) -> Harm:
    """The absolute value of a mean, by two one-sided bounds."""

    def bounds(alpha: float) -> Bounds:
        low, high = mean_bounds(difference, alpha)
        nearer = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
        return nearer, max(abs(low), abs(high))

    return Harm(abs(float(difference.mean())), len(difference), bounds)


def temperature_harm(reference: Array, candidate: Array, labels: Array) -> Harm:
    """|log(T candidate / T reference)| by the paired influence of each image on the two fits."""
    sides = [np.log(np.maximum(side, FLOOR)) for side in (reference, candidate)]
    fits = [_fitted(logs, labels) for logs in sides]
    if any(fit is None for fit in fits):
        right = [bool((side.argmax(axis=1) == labels).all()) for side in (reference, candidate)]
        return Harm(math.nan, len(labels), lambda _alpha: (0.0, math.inf), undefined=all(right))
    (first, ours), (second, theirs) = (fit for fit in fits if fit is not None)
    return either_way(first - second + theirs - ours)


def _fitted(logs: Array, labels: Array) -> tuple[float, Array] | None:
    """log(1/T) and each image's influence on log T; None where T is not within 0.05 to 20."""
    step = 1e-4

    def losses(at: float) -> Array:
        return -log_softmax(math.exp(at) * logs, axis=1)[np.arange(len(labels)), labels]

    def slopes(at: float) -> Array:
        return (losses(at + step) - losses(at - step)) / (2 * step)

    def slope(at: float) -> float:
        return float(slopes(at).mean())

    reach = math.log(20)
    if (logs == logs[:, :1]).all() or slope(reach) <= 0 or slope(-reach) >= 0:
        return None
    at = float(brentq(slope, -reach, reach, xtol=1e-12))
    curvature = (slope(at + step) - slope(at - step)) / (2 * step)
    return at, slopes(at) / curvature


def ratio_harm(candidate: Array, reference: Array, quantile: float) -> Harm:
    """The ratio of a quantile of blocks: Hodges and Lehmann's interval on the log ratios."""
    ours, theirs = (np.quantile(side, quantile, axis=1) for side in (candidate, reference))
    logs = np.log(ours) - np.log(theirs)
    n = len(logs)
    first, second = np.triu_indices(n)
    means = np.sort((logs[first] + logs[second]) / 2)

    def bounds(alpha: float) -> Bounds:
        rank = signed_rank(n, alpha)
        if rank == 0:
            low, high = DescrStatsW(logs).tconfint_mean(alpha=2 * alpha)
        else:
            low, high = means[rank - 1], means[len(means) - rank]
        return math.exp(low), math.exp(high)

    # The verdict's estimate is that of its two-sided interval at 95 %.
    centre = float(np.median(means)) if signed_rank(n, 0.025) else float(logs.mean())
    return Harm(math.exp(centre), n, bounds)


def signed_rank(n: int, tail: float) -> int:
    """How many values of the signed rank sum are at most as likely, together, as the tail."""
    if n > 200:
        spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return max(0, math.floor(n * (n + 1) / 4 - norm.isf(tail) * spread + 0.5))
    chances = np.ones(1)
    for rank in range(1, n + 1):
        chances = np.convolve(
            chances, np.eye(1, rank + 1)[0] / 2 + np.eye(1, rank + 1, rank)[0] / 2
        )
    return int((np.cumsum(chances) <= tail).sum())


def p99_harm(seconds: Array) -> Harm:
    """The 99th percentile in milliseconds, by order statistics."""
    ordered = np.sort(seconds, axis=None) * 1e3
    n = ordered.size

    def bounds(alpha: float) -> Bounds:
        above, below = int(binom.ppf(1 - alpha, n, 0.99)), int(binom.ppf(alpha, n, 0.99)) - 1
        lower = float(ordered[below]) if below >= 0 else -math.inf
        return lower, float(ordered[above]) if above < n else math.inf

    return Harm(float(np.percentile(ordered, 99)), n, bounds)


def figure(value: float) -> Harm:
    """A figure without an error."""
    return Harm(value, 1, lambda _alpha: (value, value), exact=True)
