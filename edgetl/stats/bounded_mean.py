"""An upper bound of a mean that holds for every distribution on a known range, at any n.

A certificate rests on it: image by image, how much a confidence moves is mostly next to nothing
and seldom large, and no bound that is right for large n only may be asked about the seldom.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.errors import DataError
from edgetl.extras import extra
from edgetl.stats.checks import as_sample, check_open_unit, normal_quantile

# How boldly is bet against a mean, and the share of the stake that each bet has. The boldest has
# half: it alone decides where the values hardly spread, which is what a good candidate's do.
_BETS = tuple(2.0**-power for power in range(12))
_SHARES = (0.5, *(0.5 / 11,) * 11)
_NEAR_ONE = 1.0 - 1e-12


def mean_upper_bound(values: ArrayLike, alpha: float = 0.05, *, largest: float = 1.0) -> float:
    """An upper bound of the mean of values in 0..`largest`: wrong with probability at most alpha.

    Against each mean m a stake is bet: with c the boldness of a bet, the stake becomes
    prod_i (1 - c (x_i - m) / (1 - m)), which is expected not to grow when the mean is m or more.
    The bound is the smallest m at which the stake, split over bets of several boldness, grew to
    1 / alpha (Markov's inequality). The stake grows with m, so there is one such m, and the order
    of the values does not matter. Source: Waudby-Smith and Ramdas, Journal of the Royal
    Statistical Society B 86:1-27, 2024 (arXiv 2010.09686).

    Args:
        values: Floating point [n], n >= 2, independent draws of one distribution.
        alpha: One-sided level.
        largest: The largest value that is possible, above 0.

    Returns:
        The bound, at most `largest`.

    Raises:
        DataError: For NaN, fewer than two values, a value outside 0..`largest`, or an alpha
            outside 0..1.

    Example:
        >>> print(f"{mean_upper_bound([0.0] * 1000):.5f}")
        0.00364
    """
    with extra("gate"):
        from scipy.optimize import brentq

    shares = _as_shares(values, largest)
    check_open_unit("alpha", alpha, "pass 0.05")
    goal = math.log(1 / alpha)

    def excess(mean: float) -> float:
        return _log_stake(shares, mean) - goal

    if excess(_NEAR_ONE) <= 0:
        return largest
    return largest * float(brentq(excess, float(shares.mean()), _NEAR_ONE, xtol=1e-12))


def mean_bound_sample_size(
    values: ArrayLike,
    limit: float,
    power: float = 0.8,
    alpha: float = 0.05,
    *,
    largest: float = 1.0,
) -> int | None:
    """How many values bring `mean_upper_bound` under a limit, if all are as these.

    Args:
        values: As `mean_upper_bound` takes them.
        limit: What the bound has to be under, above 0.
        power: The probability that is wanted.
        alpha: One-sided level.
        largest: The largest value that is possible.

    Returns:
        The total number; None when no number does, as for a mean that is over the limit.

    Raises:
        DataError: As `mean_upper_bound`, or for a power outside 0..1.

    Example:
        >>> mean_bound_sample_size([0.0] * 100, 0.01)
        368
    """
    shares = _as_shares(values, largest)
    check_open_unit("power", power, "pass 0.8")
    wanted = normal_quantile(power)
    mean = limit / largest
    if not 0.0 < mean < 1.0:
        return None if mean <= 0.0 else 2
    sizes = []
    for bet, share in zip(_BETS, _SHARES, strict=True):
        growth = _log_growth(shares, mean, bet)
        rate = float(growth.mean())
        if not rate > 0.0:
            continue
        spread = wanted * float(growth.std(ddof=1))
        # n rate - spread sqrt(n) has to reach log(1 / (alpha share)): a quadratic in sqrt(n).
        root = spread + math.sqrt(spread**2 - 4 * rate * math.log(alpha * share))
        sizes.append((root / (2 * rate)) ** 2)
    return max(2, math.ceil(min(sizes))) if sizes else None


def _log_stake(shares: NDArray[np.float64], mean: float) -> float:
    logs = np.array(
        [
            math.log(share) + float(_log_growth(shares, mean, bet).sum())
            for bet, share in zip(_BETS, _SHARES, strict=True)
        ]
    )
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).sum()))


def _log_growth(shares: NDArray[np.float64], mean: float, bet: float) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):  # the boldest bet is lost on a value of 1
        grown: NDArray[np.float64] = np.log1p(-bet * (shares - mean) / (1 - mean))
    return grown


def _as_shares(values: ArrayLike, largest: float) -> NDArray[np.float64]:
    sample = as_sample(values, "values")
    if not (sample.min() >= 0.0 and sample.max() <= largest):
        raise DataError(
            "values",
            got=f"{sample.min():g} to {sample.max():g}",
            expected=f"0 to {largest:g}",
            fix="name the largest value that is possible",
        )
    return sample / largest
