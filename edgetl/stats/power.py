"""How many images a verdict needs.

The decision that is planned for is the gate's own: one bound at one-sided level alpha on the right
side of the margin. Power is exact, and a sawtooth in n where counts decide: the answer is a
crossing, at which n images reach the power and n - 1 do not. A little above it the power may dip
below the target again: in the cells of the planning table by at most 0.03 points.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import DataError
from edgetl.extras import extra
from edgetl.stats.checks import check_finite, check_open_unit, check_total, normal_quantile
from edgetl.stats.paired import score_parts

LARGEST_N = 10_000_000
# Where the search starts and how it grows decide which crossing of the sawtooth is found. These
# find the ones of edgetl's published planning table.
_FIRST_N = 100
_GROWTH = 1.5
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
    if _out_of_reach(abs(difference + margin), variance, power, alpha):
        return None
    return _crossing(reached)


def paired_t_sample_size(
    mean: float, sd: float, margin: float, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Images needed to decide a paired t gate, PASS or FAIL, at an estimated mean difference.

    Below the margin the decision is PASS (the upper bound of `paired_t_bounds` below the margin),
    above it is FAIL (the lower bound above it). Exact for normal differences, by the noncentral
    t distribution.

    Args:
        mean: Mean of the per-image differences, candidate minus reference.
        sd: Their standard deviation.
        margin: The increase that is allowed, in the same unit.
        power: The probability to decide that is wanted.
        alpha: One-sided level.

    Returns:
        The total number of images, at least 2; None when no number up to 10,000,000 decides.

    Raises:
        DataError: For NaN, a negative standard deviation, or a power or alpha outside 0..1.

    Example:
        >>> paired_t_sample_size(0.0, 0.1, 0.02)
        156
    """
    with extra("gate"):
        from scipy.special import nctdtr, stdtrit

    for subject, value in (("mean", mean), ("margin", margin), ("standard deviation", sd)):
        check_finite(subject, value)
    if sd < 0:
        raise DataError("standard deviation", got=str(sd), expected="at least 0", fix="pass s")
    check_open_unit("power", power, "pass 0.8")
    check_open_unit("alpha", alpha, "pass 0.05")
    distance = abs(margin - mean)
    if distance == 0.0 or _out_of_reach(distance, sd * sd, power, alpha):
        return None
    if sd == 0.0:
        return 2

    def reached(n: int) -> bool:
        shift = distance * math.sqrt(n) / sd
        return bool(1 - nctdtr(n - 1, shift, stdtrit(n - 1, 1 - alpha)) >= power)

    return _crossing(lambda n: n > 1 and reached(n))


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
    with extra("gate"):
        from scipy.stats import binom

    if not 0.0 <= rate <= 1.0:
        raise DataError("rate", got=str(rate), expected="0 to 1", fix="pass count / n")
    check_open_unit("limit", limit, "pass 0.03 for 3 %")
    check_open_unit("power", power, "pass 0.8")
    check_open_unit("alpha", alpha, "pass 0.05")
    if _out_of_reach(abs(limit - rate), rate * (1 - rate), power, alpha):
        return None

    def reached(n: int) -> bool:
        # The bound lies on the right side of the limit when the count would be rarer than alpha
        # at the limit itself; ppf gives the first count that is not.
        if rate < limit:
            first_open = int(binom.ppf(alpha, n, limit))
            return bool(binom.cdf(first_open - 1, n, rate) >= power)
        last_open = int(binom.isf(alpha, n, limit))
        return bool(binom.sf(last_open, n, rate) >= power)

    return _crossing(reached)


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


def _out_of_reach(distance: float, variance: float, power: float, alpha: float) -> bool:
    """Whether a normal approximation already says that LARGEST_N images are far too few."""
    reach = distance * math.sqrt(4 * LARGEST_N)
    wanted = normal_quantile(1 - alpha) + normal_quantile(power)
    return distance == 0.0 or (wanted > 0 and reach < wanted * math.sqrt(variance))


def _crossing(reached: Callable[[int], bool]) -> int | None:
    """An n that reaches the power while n - 1 does not, at most LARGEST_N.

    A bracket grows by half from 100 images, and bisection closes it: about 20 looks at the power
    instead of one for every n.
    """
    low, high = 1, _FIRST_N
    while not reached(high):
        if high == LARGEST_N:
            return None
        low, high = high + 1, min(LARGEST_N, math.ceil(high * _GROWTH))
    while low < high:
        middle = (low + high) // 2
        if reached(middle):
            high = middle
        else:
            low = middle + 1
    return high
