"""Bounds of a mean that hold when the values are skewed, and equivalence of a mean with zero.

Differences between two classifiers are mostly near zero, with a few large ones where an answer
changed, nearly all on one side. Student's bound on the side of that tail is then too close: it
has passed candidates that sit on the margin in 6 to 17 % of simulated releases at "5 %".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.extras import extra
from edgetl.stats.checks import as_sample, check_confidence, check_positive

Interval = tuple[float, float]
# A statistic beyond it leaves no doubt.
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
        farthest: The greatest distance of a value from the mean.

    Example:
        >>> print(f"{moments([0.0, 0.0, 3.0]).skewness:.4f}")
        1.7321
    """

    n: int
    mean: float
    sd: float
    skewness: float
    farthest: float

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return self.sd / math.sqrt(self.n)


def moments(values: ArrayLike) -> Moments:
    """Mean, standard deviation and skewness of a sample.

    Args:
        values: Floating point [n], n >= 2, finite.

    Raises:
        DataError: For NaN or infinity, or fewer than two values.

    Example:
        >>> moments([2.0, 2.0])
        Moments(n=2, mean=2.0, sd=0.0, skewness=0.0, farthest=0.0)
    """
    sample = as_sample(values, "values")
    n = sample.size
    # The mean of equal values is not exactly their value, and their spread not exactly 0.
    if sample.min() == sample.max():
        return Moments(n=n, mean=float(sample[0]), sd=0.0, skewness=0.0, farthest=0.0)
    mean = float(sample.mean())
    centred = sample - mean
    # Squares and cubes of very small or large values would leave the range of float64.
    unit = float(np.abs(centred).max())
    centred /= unit
    squares = centred * centred
    sd = math.sqrt(float(squares.sum()) / (n - 1))
    cubes = float(squares @ centred) / sd**3
    skewness = cubes * n / ((n - 1) * (n - 2)) if n > 2 else 0.0
    return Moments(n=n, mean=mean, sd=unit * sd, skewness=skewness, farthest=unit)


def mean_bounds(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The interval of a mean whose two one-sided errors keep their level under skewness.

    Student's quantile q of each side is moved by the first term of the Cornish-Fisher expansion of
    Student's T: with k = skewness / sqrt(n), the upper bound is mean + s / sqrt(n) (q + k (1 +
    2 q^2) / 6). Source: Hall, Annals of Statistics 11:569-576, 1983. The side away from the long
    tail would come closer to the mean; it stays at Student's (`paired_t_bounds`), because a
    skewness estimated from few values is not to be trusted with that.

    A sample seldom holds the far end of its tail, which lies beyond its farthest value in one of
    n + 1 images. So each side is bounded with one more value, as far out on that side as the
    farthest on either. Of k equal values among zeros the bound is then just above the exact one of
    a Poisson count (5.4 for 1, 9.8 for 4).

    What no bound from the values alone can do: allow for a tail of which the sample holds
    nothing, as where one image in a few hundred carries all of the harm and there are not some
    thousand images; docs/gate.md has the figures, and the bootstrap t does no better there. Equal
    values get no width; a few get a very wide interval.

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
        -0.0173 0.0560
    """
    check_confidence(confidence)
    found = moments(values)
    if found.sd == 0.0:
        return found.mean, found.mean
    tail = (1 - confidence) / 2
    return -_upper(_mirrored(found), tail), _upper(found, tail)


def _upper(found: Moments, alpha: float) -> float:
    longer = with_one_more(found, 1)
    return max(
        longer.mean - longer.error * critical_value(longer.n, longer.skewness, alpha),
        found.mean - found.error * critical_value(found.n, 0.0, alpha),
    )


def _mirrored(found: Moments) -> Moments:
    return replace(found, mean=-found.mean, skewness=-found.skewness)


def with_one_more(found: Moments, side: int) -> Moments:
    """The moments with one more value, as far from the mean as the farthest one.

    Args:
        found: The sample's moments.
        side: 1 for a value above the mean, -1 for one below it.

    Example:
        >>> print(f"{with_one_more(moments([-0.1, 0.1] * 50), 1).mean:.5f}")
        0.00099
    """
    n = found.n
    # In units of the farthest: cubes of very small or large values leave the range of float64.
    sd = found.sd / found.farthest
    squares = (n - 1) * sd**2
    cubes = found.skewness * sd**3 * (n - 1) * (n - 2) / n
    cubes += side * (n * (n - 1) / (n + 1) ** 2 - 3 * squares / (n + 1))
    sd = math.sqrt((squares + n / (n + 1)) / n)
    return Moments(
        n=n + 1,
        mean=found.mean + side * found.farthest / (n + 1),
        sd=sd * found.farthest,
        skewness=cubes / sd**3 * (n + 1) / (n * (n - 1)),
        farthest=found.farthest,
    )


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
        -1.650 -2.022
    """
    with extra("gate"):
        from scipy.special import stdtrit

    quantile = float(stdtrit(n - 1, alpha))
    k = max(0.0, skewness / math.sqrt(n))
    return quantile - k * (1 + 2 * quantile**2) / 6


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
    return max(_below(side, margin) for side in (found, _mirrored(found)))


def _below(found: Moments, limit: float) -> float:
    """The p-value of "the mean is below the limit": the larger one of what `_upper` asks."""
    with extra("gate"):
        from scipy.special import stdtr

    longer = with_one_more(found, 1)
    t, student = (
        max(-_SURE, min(_SURE, (part.mean - limit) / part.error)) for part in (longer, found)
    )
    corrected = float(corrected_t(t, longer.skewness / math.sqrt(longer.n)))
    return max(float(stdtr(longer.n - 1, corrected)), float(stdtr(found.n - 1, student)))


def corrected_t(
    t: float | NDArray[np.float64], k: float | NDArray[np.float64]
) -> float | NDArray[np.float64]:
    """Student's T without its skewness: the q of which `critical_value` makes this T.

    Args:
        t: Student's T; above 0 it is left as it is.
        k: The sample's skewness over sqrt(n), of the same shape.

    Example:
        >>> print(f"{corrected_t(-1.7573, 0.1):.3f} {corrected_t(-1.65, -0.1)}")
        -1.650 -1.65
    """
    harmful = np.maximum(k, 0.0)
    left = np.minimum(t, 0.0)
    # The root of k q^2 / 3 - q + t + k / 6 = 0 that does not cancel.
    rest = left + harmful / 6
    found = 2 * rest / (1 + np.sqrt(np.maximum(1 - 4 * harmful * rest / 3, 0.0)))
    return np.where(np.asarray(t) < 0, np.maximum(found, t), t)[()]
