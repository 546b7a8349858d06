"""How many images the gates on a mean need."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from edgetl.errors import DataError
from edgetl.extras import extra
from edgetl.stats.checks import check_finite, check_open_unit, check_total
from edgetl.stats.mean import Moments, critical_value, moments, with_one_more
from edgetl.stats.resampled_power import ResampledPower
from edgetl.stats.search import crossing, out_of_reach

# Every open gate of a verdict asks for a size: a power to 2 points is enough for that.
_DRAWS = 400


def mean_power(
    n: int, sd: float, skewness: float, mean: float, margin: float, alpha: float = 0.05
) -> float:
    """The probability that n images decide a gate on a mean that is bounded by `mean_bounds`.

    Up to the margin the decision is PASS (the upper bound below the margin); above it is FAIL
    (the lower bound above it). The bound is, to first order in 1 / sqrt(n), itself a mean: that
    of y - c (y^2 - 1) / (2 sqrt(n)), y a standardised value and c the critical value of Student's
    T. Its distribution is taken as a Pearson III with its own variance and skewness; the fourth
    moment of y, which is not asked for, as that of a Pearson III too, and so is the farthest value
    of n, which the bound counts once more.

    Args:
        n: Images, at least 2.
        sd: Standard deviation of one image's value.
        skewness: Its skewness.
        mean: The true mean, candidate minus reference.
        margin: The increase that is allowed, in the same unit.
        alpha: One-sided level.

    Returns:
        The probability, 0..1.

    Raises:
        DataError: For NaN, a negative standard deviation, n below 2, or an alpha outside 0..1.

    Example:
        >>> print(f"{mean_power(156, 0.1, 0.0, 0.0, 0.02):.3f}")
        0.723
        >>> print(f"{mean_power(156, 0.1, 6.0, 0.0, 0.02):.3f}")
        0.462
    """
    _check_mean(mean, sd, margin, alpha)
    check_finite("skewness", skewness)
    check_total("images", 2, n)
    if mean > margin:
        return mean_power(n, sd, -skewness, -mean, -margin, alpha)
    if sd == 0.0:
        return float(mean < margin)
    seen = Moments(n=n, mean=mean, sd=sd, skewness=skewness, farthest=sd * _farthest(n, skewness))
    widened = with_one_more(seen, 1)
    critical = critical_value(widened.n, widened.skewness, alpha) * widened.error / seen.error
    student = critical_value(n, 0.0, alpha)
    shift = (mean - widened.mean) / seen.error
    reach = (margin - mean) / seen.error + min(shift + critical, student)
    slope = critical / math.sqrt(n)
    kurtosis = 2 + 1.5 * skewness**2
    variance = 1 - slope * skewness + slope**2 * kurtosis / 4
    third = (skewness - 1.5 * slope * kurtosis) / math.sqrt(n)
    return _pearson3(reach / math.sqrt(variance), third / variance**1.5)


def _farthest(n: int, skewness: float) -> float:
    """How many standard deviations the farthest of n values is from the mean, about."""
    with extra("gate"):
        from scipy.special import gammainccinv, ndtri

    if abs(skewness) < 1e-3:
        return -float(ndtri(1 / (2 * n + 2)))
    shape = 4 / skewness**2
    return float(gammainccinv(shape, 1 / (n + 1)) - shape) * abs(skewness) / 2


def _pearson3(x: float, skewness: float) -> float:
    """Distribution function of Pearson's type III with mean 0 and variance 1."""
    with extra("gate"):
        from scipy.special import gammainc, gammaincc, ndtr

    if abs(skewness) < 1e-6:
        return float(ndtr(x))
    shape = 4 / skewness**2
    value = max(0.0, shape + 2 * x / skewness)
    return float(gammainc(shape, value) if skewness > 0 else gammaincc(shape, value))


def mean_sample_size(
    values: ArrayLike,
    margin: float,
    power: float = 0.8,
    alpha: float = 0.05,
    *,
    mean: float | None = None,
) -> int | None:
    """Images needed to decide a gate on a mean, PASS or FAIL, if the data are as this sample.

    The decision that is planned for is that of `mean_bounds`, and both `mean_power` and
    `ResampledPower` have to reach the power.

    Args:
        values: The differences seen, candidate minus reference, floating point [n], n >= 2.
        margin: The increase that is allowed, in the same unit.
        power: The probability to decide that is wanted.
        alpha: One-sided level.
        mean: The true mean to plan for; the sample's own when left out.

    Returns:
        The total number of images, at least 2; None when no number up to 10,000,000 decides.

    Raises:
        DataError: For NaN or infinity, fewer than two values, or a power or alpha outside 0..1.

    Example:
        >>> mean_sample_size([-0.1, 0.1] * 50, 0.02)
        189
        >>> mean_sample_size([-0.1, 0.1] * 50, 0.02, mean=0.02) is None
        True
    """
    found = moments(values)
    true = found.mean if mean is None else mean
    _check_mean(true, found.sd, margin, alpha)
    check_open_unit("power", power, "pass 0.8")
    distance = abs(margin - true)
    if distance == 0.0 or out_of_reach(distance, found.sd**2, power, alpha):
        return None
    if found.sd == 0.0:
        return 2
    resampled = ResampledPower(values, margin, alpha, mean=true, draws=_DRAWS)

    def reached(n: int) -> bool:
        # Drawn samples also pass where they are too small to hold what is rare; the formula does
        # not take that for power.
        formula = n > 1 and mean_power(n, found.sd, found.skewness, true, margin, alpha)
        return formula >= power and resampled(n) >= power

    return crossing(reached)


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

    _check_mean(mean, sd, margin, alpha)
    check_open_unit("power", power, "pass 0.8")
    distance = abs(margin - mean)
    if distance == 0.0 or out_of_reach(distance, sd * sd, power, alpha):
        return None
    if sd == 0.0:
        return 2

    def reached(n: int) -> bool:
        shift = distance * math.sqrt(n) / sd
        return bool(1 - nctdtr(n - 1, shift, stdtrit(n - 1, 1 - alpha)) >= power)

    return crossing(lambda n: n > 1 and reached(n))


def _check_mean(mean: float, sd: float, margin: float, alpha: float) -> None:
    for subject, value in (("mean", mean), ("margin", margin), ("standard deviation", sd)):
        check_finite(subject, value)
    if sd < 0:
        raise DataError("standard deviation", got=str(sd), expected="at least 0", fix="pass s")
    check_open_unit("alpha", alpha, "pass 0.05")
