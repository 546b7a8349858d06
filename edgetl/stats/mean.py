"""Bounds of a mean that hold when the values are skewed, and equivalence of a mean with zero.

Differences between two classifiers are mostly near zero, with a few large ones where an answer
changed, nearly all on one side. Student's bound on the other side of that tail is then too close:
it has passed candidates that sit on the margin in 6 to 9 % of simulated releases at "5 %".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.extras import extra
from edgetl.stats.checks import as_sample, check_confidence, check_positive

Interval = tuple[float, float]
# Below this the correction is under the rounding of the bounds themselves.
_NO_SKEW = 1e-9
# A statistic beyond it leaves no doubt, and its cube stays finite.
_SURE = 1e9


@dataclass(frozen=True, kw_only=True)
class Moments:
    """What a bound of the mean needs to know of a sample.

    Attributes:
        n: Values.
        mean: Their mean.
        sd: Their standard deviation, with n - 1; exactly 0 where all are equal.
        skewness: Their adjusted Fisher-Pearson skewness, with the factor sqrt(n (n - 1)) / (n - 2)
            against its bias; 0 for two values and where all are equal.

    Example:
        >>> print(f"{moments([0.0, 0.0, 3.0]).skewness:.4f}")
        1.7321
    """

    n: int
    mean: float
    sd: float
    skewness: float


def moments(values: ArrayLike) -> Moments:
    """Mean, standard deviation and skewness of a sample.

    Args:
        values: Floating point [n], n >= 2, finite.

    Raises:
        DataError: For NaN or infinity, or fewer than two values.

    Example:
        >>> moments([2.0, 2.0])
        Moments(n=2, mean=2.0, sd=0.0, skewness=0.0)
    """
    sample = as_sample(values, "values")
    n = sample.size
    # The mean of equal values is not exactly their value, and their spread not exactly 0.
    if sample.min() == sample.max():
        return Moments(n=n, mean=float(sample[0]), sd=0.0, skewness=0.0)
    mean = float(sample.mean())
    centred = sample - mean
    # Squares and cubes of very small or large values would leave the range of float64.
    unit = float(np.abs(centred).max())
    centred /= unit
    squares = centred * centred
    sd = math.sqrt(float(squares.sum()) / (n - 1))
    cubes = float(squares @ centred) / sd**3
    skewness = cubes * n / ((n - 1) * (n - 2)) if n > 2 else 0.0
    return Moments(n=n, mean=mean, sd=unit * sd, skewness=skewness)


def mean_bounds(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The interval of a mean whose two one-sided errors keep their level under skewness.

    Hall's monotone transformation of Student's t, with k = skewness / sqrt(n): the statistic
    T + k T^2 / 3 + k^2 T^3 / 27 + k / 6 is compared with Student's quantiles and solved for the
    mean. Source: Hall, On the removal of skewness by transformation, Journal of the Royal
    Statistical Society B 54:221-228, 1992. The correction widens the side of the long tail and
    would narrow the other one; neither side is ever closer than Student's (`paired_t_bounds`),
    because a skewness estimated from few values is not to be trusted with narrowing.

    What no bound from the values alone can do: allow for a tail of which the sample holds
    nothing, as where one image in a few hundred carries all of the harm and there are not some
    thousand images; docs/gate.md has the figures, and the bootstrap t does no better there. Two
    values have no skewness, and get Student's interval; equal values get no width.

    Args:
        values: Such as candidate minus reference image by image, floating point [n], n >= 2.
        confidence: Two-sided, between 0 and 1.

    Returns:
        (low, high), in the unit of the values.

    Raises:
        DataError: For NaN or infinity, fewer than two values, or a confidence outside 0..1.

    Example:
        >>> low, high = mean_bounds([0.0] * 18 + [0.1, 0.2], confidence=0.9)
        >>> print(f"{low:.4f} {high:.4f}")
        -0.0039 0.0899
    """
    check_confidence(confidence)
    found = moments(values)
    if found.sd == 0.0:
        return found.mean, found.mean
    error = found.sd / math.sqrt(found.n)
    tail = (1 - confidence) / 2
    lower = critical_value(found.n, -found.skewness, tail)
    upper = critical_value(found.n, found.skewness, tail)
    return found.mean + error * lower, found.mean - error * upper


def critical_value(n: int, skewness: float, alpha: float) -> float:
    """What Student's T must be below to say at level alpha that the mean is below a limit.

    Args:
        n: Values, at least 2.
        skewness: Theirs.
        alpha: One-sided level.

    Returns:
        The critical value of (mean - limit) / (sd / sqrt(n)); Student's quantile or below it.

    Example:
        >>> print(f"{critical_value(300, 0.0, 0.05):.3f} {critical_value(300, 6.0, 0.05):.3f}")
        -1.650 -2.235
    """
    with extra("gate"):
        from scipy.special import stdtrit

    quantile = float(stdtrit(n - 1, alpha))
    k = skewness / math.sqrt(n)
    if abs(k) < _NO_SKEW:
        return quantile
    inside = k * (quantile - k / 6)
    # cbrt(1 + x) - 1, which cancels for a small x.
    step = math.expm1(math.log1p(inside) / 3) if inside > -1 else float(np.cbrt(1 + inside)) - 1
    return min(quantile, 3 * step / k)


def tost(low: float, high: float, margin: float) -> bool:
    """Two one-sided tests: whether an interval lies within -margin..margin.

    With an interval of confidence 1 - 2 alpha this is equivalence at level alpha. Source:
    Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15:657-680, 1987.

    Args:
        low: Lower end; NaN is never within.
        high: Upper end.
        margin: Above 0.

    Raises:
        DataError: When the margin is not positive and finite.

    Example:
        >>> tost(-0.004, 0.007, 0.01), tost(-0.004, 0.012, 0.01)
        (True, False)
    """
    check_positive("margin", margin)
    return -margin < low and high < margin


def tost_p(values: ArrayLike, margin: float) -> float:
    """The p-value of equivalence of a mean with 0: the larger one of the two one-sided tests.

    It is below alpha exactly where `tost` accepts the `mean_bounds` of confidence 1 - 2 alpha.

    Args:
        values: Floating point [n], n >= 2.
        margin: Above 0, in the unit of the values.

    Returns:
        0..1; for equal values 0 where they are within the margin, else 1.

    Raises:
        DataError: For NaN or infinity, fewer than two values, or a margin that is not positive.

    Example:
        >>> print(f"{tost_p([0.01, -0.02, 0.03, 0.0], 0.05):.4f}")
        0.0114
    """
    check_positive("margin", margin)
    found = moments(values)
    if found.sd == 0.0:
        return 0.0 if abs(found.mean) < margin else 1.0
    sides = ((found.mean - margin, found.skewness), (-found.mean - margin, -found.skewness))
    return max(_below(found, above, skewness) for above, skewness in sides)


def _below(found: Moments, above: float, skewness: float) -> float:
    """The p-value of "the mean is below the limit" for a mean that is `above` it."""
    with extra("gate"):
        from scipy.special import stdtr

    t = max(-_SURE, min(_SURE, above / (found.sd / math.sqrt(found.n))))
    k = skewness / math.sqrt(found.n)
    return float(stdtr(found.n - 1, max(t, float(corrected_t(t, k)))))


def corrected_t(
    t: float | NDArray[np.float64], k: float | NDArray[np.float64]
) -> float | NDArray[np.float64]:
    """Hall's transformation of Student's T that removes its skewness.

    Args:
        t: Student's T.
        k: The sample's skewness over sqrt(n), of the same shape.

    Example:
        >>> round(corrected_t(-1.65, 0.1), 4)
        -1.5442
    """
    return t + k * t * t / 3 + k * k * t**3 / 27 + k / 6
