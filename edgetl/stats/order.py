"""Bounds from the order of the values alone: of a quantile, and of a centre."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.extras import extra
from edgetl.stats.checks import as_sample, check_confidence, check_open_unit, normal_quantile

# Up to here the distribution of the signed rank sum is counted; above it is normal to 4 digits.
_LARGEST_COUNTED = 200


def quantile_bounds(sample: ArrayLike, q: float, confidence: float = 0.95) -> tuple[float, float]:
    """The distribution-free interval of a quantile: two order statistics.

    The number of values at or below the true quantile is binomial (n, q), whatever the
    distribution. Source: David and Nagaraja, Order Statistics, 3rd edition, 2003, section 7.1.
    Ties make it wider than it need be, never too narrow.

    Args:
        sample: Such as latencies, floating point [n], n >= 2, in any order.
        q: The quantile, between 0 and 1; 0.99 for p99.
        confidence: Two-sided, between 0 and 1; an upper bound of one-sided level alpha is `high`
            at ``1 - 2 * alpha``.

    Returns:
        (low, high), values of the sample; -inf or inf where n is too small for a bound, see
        `quantile_minimum`.

    Raises:
        DataError: For NaN or infinity, fewer than two values, or q or confidence outside 0..1.

    Example:
        >>> quantile_bounds(np.arange(1.0, 300.0), 0.99, confidence=0.9)
        (293.0, 299.0)
        >>> quantile_bounds(np.arange(1.0, 299.0), 0.99, confidence=0.9)
        (292.0, inf)
    """
    with extra("gate"):
        from scipy.stats import binom

    values = np.sort(as_sample(sample, "sample"))
    _check_quantile(q)
    check_confidence(confidence)
    n, tail = values.size, (1 - confidence) / 2
    # chances[r] is that of at most r values at or below the quantile.
    chances = binom.cdf(np.arange(n), n, q)
    above = np.searchsorted(chances, tail, side="right")
    low = float(values[above - 1]) if above > 0 else -math.inf
    misses = binom.sf(np.arange(n), n, q)
    enough = int(np.searchsorted(-misses, -tail, side="left"))
    high = float(values[enough]) if enough < n else math.inf
    return low, high


def quantile_minimum(q: float, confidence: float = 0.95) -> int:
    """The fewest values whose largest is an upper bound of a quantile: q^n <= 1 - confidence.

    Args:
        q: The quantile, between 0 and 1.
        confidence: One-sided, between 0 and 1.

    Raises:
        DataError: For a number outside 0..1.

    Example:
        >>> [quantile_minimum(q) for q in (0.5, 0.9, 0.99)]
        [5, 29, 299]
    """
    _check_quantile(q)
    check_confidence(confidence)
    return max(1, math.ceil(math.log1p(-confidence) / math.log(q)))


def hodges_lehmann(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """The median of all pairwise means, and its interval by inverting the signed rank test.

    For differences that are symmetric about their centre it bounds that centre without a moment:
    a single wild value cannot widen it without limit. Not for a harm such as the NLL increase,
    whose mean counts and whose tail is the point. The rank distribution is counted up to 200
    values and normal above. Source: Hollander, Wolfe and Chicken, Nonparametric Statistical
    Methods, 3rd edition, 2013, sections 3.2 and 3.3.

    Args:
        values: Floating point [n], n >= 2.
        confidence: Two-sided, between 0 and 1.

    Returns:
        (estimate, low, high); -inf and inf where n is too small for the confidence (below 6 at
        95 %).

    Raises:
        DataError: For NaN or infinity, fewer than two values, or a confidence outside 0..1.

    Example:
        >>> hodges_lehmann([1.0, 2.0, 3.0, 4.0, 5.0, 60.0])
        (3.5, 1.0, 60.0)
    """
    sample = np.sort(as_sample(values, "values"))
    check_confidence(confidence)
    pairs = sample.size * (sample.size + 1) // 2
    middle = (_pairwise_mean(sample, (pairs + 1) // 2), _pairwise_mean(sample, pairs // 2 + 1))
    rank = _signed_rank(sample.size, (1 - confidence) / 2)
    estimate = middle[0] + (middle[1] - middle[0]) / 2
    if rank == 0:
        return estimate, -math.inf, math.inf
    return estimate, _pairwise_mean(sample, rank), _pairwise_mean(sample, pairs + 1 - rank)


def _pairwise_mean(ordered: NDArray[np.float64], rank: int) -> float:
    """The rank-th smallest of (x_i + x_j) / 2, i <= j, without listing all of them.

    For every i, bisection finds the fewest j whose means are not above a value; the value itself
    is found by bisection over the candidates' range.
    """
    places = np.arange(ordered.size)

    def at_most(value: float) -> int:
        until = np.searchsorted(ordered, 2 * value - ordered, side="right")
        return int(np.maximum(until - places, 0).sum())

    low, high = float(ordered[0]), float(ordered[-1])
    if at_most(low) >= rank:
        return low
    while True:
        middle = low + (high - low) / 2
        if not low < middle < high:
            return high
        if at_most(middle) >= rank:
            high = middle
        else:
            low = middle


def _signed_rank(n: int, tail: float) -> int:
    """How many of the smallest pairwise means lie outside an interval with this error per tail,
    plus one; 0 where even one is too many."""
    if n > _LARGEST_COUNTED:
        centre = n * (n + 1) / 4
        spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return max(0, math.floor(centre + normal_quantile(tail) * spread + 0.5))
    chances = np.ones(1)
    for rank in range(1, n + 1):
        longer = np.zeros(chances.size + rank)
        longer[: chances.size] = chances / 2
        longer[rank:] += chances / 2
        chances = longer
    return int(np.searchsorted(np.cumsum(chances), tail, side="right"))


def _check_quantile(q: float) -> None:
    check_open_unit("quantile", q, "pass 0.99 for p99")
