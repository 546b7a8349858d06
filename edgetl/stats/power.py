"""How many images a verdict needs.

The decision that is planned for is the gate's own: one bound at one-sided level alpha on the right
side of the margin. Power is exact, and a sawtooth in n where counts decide: the answer is a
crossing, at which n images reach the power and n - 1 do not. A little above it the power may dip
below the target again: in the cells of the planning table by at most 0.03 points.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import DataError
from edgetl.extras import extra
from edgetl.stats.checks import check_open_unit, check_total, normal_quantile
from edgetl.stats.paired import score_parts
from edgetl.stats.search import LARGEST_N, crossing, out_of_reach

# What lies outside of this in either tail cannot be seen in a power of two or three digits.
_TAIL = 1e-12


def structural_minimum(margin: float, alpha: float = 0.05) -> int:
    """The fewest images with which `tango` can pass a margin, even without a single flip.

    At b = c = 0 the lower bound is -z^2 / (n + z^2), so n must exceed z^2 (1/margin - 1).

    Args:
        margin: The accuracy drop that is allowed, between 0 and 1 (0.01 is one point).
        alpha: One-sided level.

    Returns:
        The number of images.

    Raises:
        DataError: For a margin or alpha outside 0..1.

    Example:
        >>> [structural_minimum(margin) for margin in (0.005, 0.01, 0.02)]
        [539, 268, 133]
    """
    check_open_unit("margin", margin, "pass 0.01 for one point")
    check_open_unit("alpha", alpha, "pass 0.05")
    return max(1, math.floor(normal_quantile(1 - alpha) ** 2 * (1 / margin - 1)) + 1)


def paired_sample_size(
    *, margin: float, discordance: float, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Images needed to pass the accuracy gate when candidate and reference are equally accurate.

    Exact: the number of discordant images is binomial, and so is their split; the decision is
    Tango's lower bound above -margin. See `tango_sample_size` for a difference that is not 0.

    Args:
        margin: The accuracy drop that is allowed, between 0 and 1 (0.01 is one point).
        discordance: The share of images that exactly one of the two gets right, 0..1.
        power: The probability to pass that is wanted.
        alpha: One-sided level.

    Returns:
        The number of images.

    Raises:
        DataError: For a number outside its range, or when more than 10,000,000 images would be
            needed.

    Example:
        >>> paired_sample_size(margin=0.02, discordance=0.03)
        540
    """
    n = tango_sample_size(0.0, discordance, margin, power, alpha)
    if n is None:
        raise DataError(
            "sample size",
            got=f"more than {LARGEST_N} images for the margin {margin:g}",
            expected="a margin that images can decide",
            fix="allow a larger margin",
        )
    return n


def tango_power(
    n: int, difference: float, discordance: float, margin: float, alpha: float = 0.05
) -> float:
    """The exact probability that n images decide the accuracy gate.

    Above -margin the decision is PASS (Tango's lower bound above -margin); below it is FAIL (the
    upper bound below -margin).

    Args:
        n: Images.
        difference: True accuracy of the candidate minus the reference's.
        discordance: The share of images that exactly one of the two gets right, at least
            |difference|.
        margin: The accuracy drop that is allowed.
        alpha: One-sided level.

    Returns:
        The probability, 0..1.

    Raises:
        DataError: For a number outside its range.

    Example:
        >>> print(f"{tango_power(540, 0.0, 0.03, 0.02):.4f}")
        0.8098
    """
    with extra("gate"):
        from scipy.stats import binom

    _check_paired(difference, discordance, margin, alpha)
    check_total("images", 0, n)
    if discordance == 0.0:
        above, error = score_parts(0, 0, n, -margin)
        return float(above > normal_quantile(1 - alpha) * error)
    fewest = max(0, int(binom.ppf(_TAIL, n, discordance)))
    most = min(n, int(binom.isf(_TAIL, n, discordance)))
    discordant = np.arange(fewest, most + 1)
    share = (1 + difference / discordance) / 2
    z = normal_quantile(1 - alpha)
    if difference >= -margin:
        decided = binom.sf(_fewest_b(discordant, n, margin, z) - 1, discordant, share)
    else:
        decided = binom.cdf(_fewest_b(discordant, n, margin, -z) - 1, discordant, share)
    return float((binom.pmf(discordant, n, discordance) * decided).sum())


def _fewest_b(discordant: NDArray[np.int64], n: int, margin: float, z: float) -> NDArray[np.int64]:
    """Per number of discordant images, the fewest b whose score at -margin exceeds z; one more
    than all of them where none does. The score grows with b, so bisection finds it."""
    low, high = np.zeros_like(discordant), discordant + 1
    while (low < high).any():
        middle = (low + high) // 2
        b = np.minimum(middle, discordant)
        above, error = score_parts(b, discordant - b, n, -margin)
        exceeds = (above > z * error) | (middle > discordant)
        open_ = low < high
        high = np.where(open_ & exceeds, middle, high)
        low = np.where(open_ & ~exceeds, middle + 1, low)
    return low


def tango_sample_size(
    difference: float, discordance: float, margin: float, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Images needed to decide the accuracy gate, PASS or FAIL, at an estimated difference.

    Args:
        difference: Accuracy of the candidate minus the reference's, (b - c) / n.
        discordance: The share of discordant images, (b + c) / n; at least |difference|.
        margin: The accuracy drop that is allowed.
        power: The probability to decide that is wanted.
        alpha: One-sided level.

    Returns:
        The total number of images; None when no number up to 10,000,000 decides, as for a
        difference on the margin itself.

    Raises:
        DataError: For a number outside its range.

    Example:
        >>> tango_sample_size(-0.002, 0.03, 0.01)
        3004
        >>> tango_sample_size(-0.01, 0.03, 0.01) is None
        True
    """
    _check_paired(difference, discordance, margin, alpha)
    check_open_unit("power", power, "pass 0.8")

    def reached(n: int) -> bool:
        return tango_power(n, difference, discordance, margin, alpha) >= power

    variance = discordance - difference**2
    if out_of_reach(abs(difference + margin), variance, power, alpha):
        return None
    return crossing(reached)


def rate_sample_size(
    rate: float, limit: float, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Images needed to decide a gate on a rate, PASS or FAIL, such as the flip rate.

    Below the limit the decision is PASS (the upper bound of `clopper_pearson` below the limit),
    above it is FAIL (the lower bound above it). Exact, by the binomial distribution.

    Args:
        rate: The estimated rate, 0..1.
        limit: The rate that is allowed, between 0 and 1.
        power: The probability to decide that is wanted.
        alpha: One-sided level.

    Returns:
        The total number of images; None when no number up to 10,000,000 decides.

    Raises:
        DataError: For a number outside its range.

    Example:
        >>> rate_sample_size(0.0, 0.03), rate_sample_size(0.02, 0.03)
        (99, 1655)
    """
    check_open_unit("power", power, "pass 0.8")
    _check_rate(rate, limit, alpha)
    if out_of_reach(abs(limit - rate), rate * (1 - rate), power, alpha):
        return None
    return crossing(lambda n: rate_power(n, rate, limit, alpha) >= power)


def rate_power(n: int, rate: float, limit: float, alpha: float = 0.05) -> float:
    """The exact probability that n images decide a gate on a rate.

    Up to the limit the decision is PASS (the upper bound of `clopper_pearson` below the limit);
    above it is FAIL (the lower bound above it).

    Args:
        n: Images.
        rate: The true rate, 0..1.
        limit: The rate that is allowed, between 0 and 1.
        alpha: One-sided level.

    Returns:
        The probability, 0..1.

    Raises:
        DataError: For a number outside its range.

    Example:
        >>> print(f"{rate_power(99, 0.0, 0.03):.1f} {rate_power(1655, 0.02, 0.03):.4f}")
        1.0 0.8294
    """
    with extra("gate"):
        from scipy.stats import binom

    _check_rate(rate, limit, alpha)
    check_total("images", 0, n)
    # The bound lies on the right side of the limit when the count would be rarer than alpha at
    # the limit itself; ppf gives the first count that is not.
    if rate <= limit:
        return float(binom.cdf(int(binom.ppf(alpha, n, limit)) - 1, n, rate))
    return float(binom.sf(int(binom.isf(alpha, n, limit)), n, rate))


def _check_rate(rate: float, limit: float, alpha: float) -> None:
    check_open_unit("limit", limit, "pass 0.03 for 3 %")
    check_open_unit("alpha", alpha, "pass 0.05")
    if not 0.0 <= rate <= 1.0:
        raise DataError("rate", got=str(rate), expected="0 to 1", fix="pass count / n")


def _check_paired(difference: float, discordance: float, margin: float, alpha: float) -> None:
    check_open_unit("margin", margin, "pass 0.01 for one point")
    check_open_unit("alpha", alpha, "pass 0.05")
    if not 0.0 <= discordance <= 1.0 or not abs(difference) <= discordance:
        raise DataError(
            "discordance",
            got=f"{discordance} with the difference {difference}",
            expected="0 to 1, and no smaller than the difference",
            fix="pass (b + c) / n and (b - c) / n of the same images",
        )
