"""Bounds and tests for what two classifiers answer on the same images.

Intervals are (low, high), two-sided at `confidence`; the bound of a one-sided level alpha is one
end of the interval at ``confidence = 1 - 2 * alpha``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.errors import DataError
from edgetl.extras import extra
from edgetl.stats.checks import (
    as_sample,
    check_confidence,
    check_counts,
    check_total,
    normal_quantile,
)

Interval = tuple[float, float]


def tango(b: int, c: int, n: int, confidence: float = 0.95) -> Interval:
    """Tango's score interval of the paired difference of accuracies (b - c) / n.

    The limits are the differences D at which the score statistic
    (b - c - nD) / sqrt(n (2q + D(1 - D))) is z and -z, where q is the probability of "only the
    reference right" that is most likely under D: the larger root of
    2n q^2 + (-b - c + (2n - b + c) D) q - c D (1 - D) = 0. Source: Tango, Statistics in Medicine
    17:891-908, 1998. It stays informative at b = c = 0, where a Wald interval has no width.

    Args:
        b: Images that only the candidate gets right.
        c: Images that only the reference gets right.
        n: All images.
        confidence: Two-sided, between 0 and 1.

    Returns:
        (low, high), within -1..1.

    Raises:
        DataError: For counts that are not such, or a confidence outside 0..1.

    Example:
        >>> low, high = tango(6, 16, 161)
        >>> print(f"{low:.4f} {high:.4f}")
        -0.1240 -0.0054
    """
    check_counts(b=b, c=c, n=n)
    check_total("discordant images", b + c, n)
    check_confidence(confidence)
    z = normal_quantile(0.5 + confidence / 2)
    # Swapping the two sides mirrors the interval, so one limit is enough to solve for.
    return _tango_low(b, c, n, z), 0.0 - _tango_low(c, b, n, z)


def score_parts(
    b: ArrayLike, c: ArrayLike, n: float, difference: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Numerator and standard error of Tango's score statistic, element by element.

    Args:
        b: Counts of images that only the candidate gets right.
        c: Counts of images that only the reference gets right, of the same shape.
        n: All images.
        difference: The difference of accuracies that is tested, -1..1.

    Returns:
        float64 (b - c - nD, sqrt(n (2q + D(1 - D)))); the statistic is their ratio.

    Example:
        >>> above, error = score_parts(5, 5, 1000, -0.01)
        >>> print(f"{above / error:.3f}")
        2.497
    """
    b, c = np.asarray(b, np.float64), np.asarray(c, np.float64)
    linear = -b - c + (2 * n - b + c) * difference
    constant = -c * difference * (1 - difference)
    root = np.sqrt(np.maximum(linear * linear - 8 * n * constant, 0.0))
    # The textbook root cancels for a positive linear part; its conjugate does not.
    with np.errstate(divide="ignore", invalid="ignore"):
        conjugate = np.where(linear + root > 0, -2 * constant / (linear + root), 0.0)
    q = np.where(linear > 0, conjugate, (root - linear) / (4 * n))
    variance = n * np.maximum(2 * q + difference * (1 - difference), 0.0)
    return b - c - n * difference, np.sqrt(variance)


def _tango_low(b: int, c: int, n: int, z: float) -> float:
    with extra("gate"):
        from scipy.optimize import brentq

    target = 1 / math.sqrt(2)

    def excess(difference: float) -> float:
        # T / sqrt(T^2 + z^2) instead of T: it is bounded where the standard error vanishes, at
        # b = c = 0 and at b = n or c = n, and passes 1/sqrt(2) where T passes z.
        above, error = (float(part) for part in score_parts(b, c, n, difference))
        return above / math.hypot(above, z * error) - target if above > 0 else -target

    if c == n:
        return -1.0
    return float(brentq(excess, -1.0, (b - c) / n, xtol=1e-15))


def newcombe(both: int, b: int, c: int, neither: int, confidence: float = 0.95) -> Interval:
    """Newcombe's square-and-add interval of the paired difference of accuracies (b - c) / n.

    Wilson limits of the two accuracies, joined with the correlation of the paired table, which
    is corrected for continuity where it is positive. Source: method 10 of Newcombe, Statistics
    in Medicine 17:2635-2650, 1998. A second opinion beside `tango`.

    Args:
        both: Images that both get right.
        b: Images that only the candidate gets right.
        c: Images that only the reference gets right.
        neither: Images that neither gets right.
        confidence: Two-sided, between 0 and 1.

    Returns:
        (low, high), within -1..1.

    Raises:
        DataError: For counts that are not such, or a confidence outside 0..1.

    Example:
        >>> low, high = newcombe(36, 12, 2, 0)
        >>> print(f"{low:.4f} {high:.4f}")
        0.0569 0.3404
    """
    check_counts(both=both, b=b, c=c, neither=neither)
    n = both + b + c + neither
    check_total("images", 0, n)
    check_confidence(confidence)
    z = normal_quantile(0.5 + confidence / 2)
    candidate, reference = (both + b) / n, (both + c) / n
    low_1, high_1 = _wilson(both + b, n, z)
    low_2, high_2 = _wilson(both + c, n, z)
    phi = _newcombe_phi(both, b, c, neither)

    def joined(x: float, y: float) -> float:
        return math.sqrt(max(0.0, x * x - 2 * phi * x * y + y * y))

    difference = (b - c) / n
    low = difference - joined(candidate - low_1, high_2 - reference)
    high = difference + joined(reference - low_2, high_1 - candidate)
    return max(low, -1.0), min(high, 1.0)


def _newcombe_phi(both: int, b: int, c: int, neither: int) -> float:
    margins = (both + b) * (c + neither) * (both + c) * (b + neither)
    if margins == 0:
        return 0.0
    determinant: float = both * neither - b * c
    if determinant > 0:
        determinant = max(determinant - (both + b + c + neither) / 2, 0.0)
    return determinant / math.sqrt(margins)


def _wilson(k: int, n: int, z: float) -> Interval:
    """Wilson's score interval of k / n (Wilson, 1927)."""
    centre = (2 * k + z * z) / (2 * (n + z * z))
    half = z * math.sqrt(z * z + 4 * k * (n - k) / n) / (2 * (n + z * z))
    return centre - half, centre + half


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> Interval:
    """The exact interval of a rate k / n, from the quantiles of the beta distribution.

    Source: Clopper and Pearson, Biometrika 26:404-413, 1934.

    Args:
        k: Images counted, such as flips.
        n: All images.
        confidence: Two-sided, between 0 and 1.

    Returns:
        (low, high), within 0..1.

    Raises:
        DataError: For counts that are not such, or a confidence outside 0..1.

    Example:
        >>> low, high = clopper_pearson(0, 100)
        >>> print(f"{low:.4f} {high:.4f}")
        0.0000 0.0362
    """
    with extra("gate"):
        from scipy.special import betaincinv

    check_counts(k=k, n=n)
    check_total("images counted", k, n)
    check_confidence(confidence)
    tail = (1 - confidence) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return low, high


def mcnemar(b: int, c: int, method: Literal["exact", "mid-p"] = "exact") -> float:
    """McNemar's test that both sides are equally often the only one that is right.

    It answers whether there is a difference, not whether the difference is small: a verdict
    never rests on it. The mid-p value counts half the probability of the observed split. Source:
    Fagerland, Lydersen and Laake, BMC Medical Research Methodology 13:91, 2013.

    Args:
        b: Images that only the candidate gets right.
        c: Images that only the reference gets right.
        method: "exact" or "mid-p".

    Returns:
        The two-sided p-value; 1 when there is no discordant image.

    Raises:
        DataError: For counts that are not such, or an unknown method.

    Example:
        >>> print(f"{mcnemar(6, 16):.6f} {mcnemar(6, 16, 'mid-p'):.6f}")
        0.052479 0.034690
    """
    with extra("gate"):
        from scipy.stats import binom

    check_counts(b=b, c=c)
    if method not in ("exact", "mid-p"):
        raise DataError(
            "method", got=repr(method), expected="'exact' or 'mid-p'", fix="pass one of the two"
        )
    if b + c == 0:
        return 1.0
    exact = min(1.0, 2 * float(binom.cdf(min(b, c), b + c, 0.5)))
    if method == "exact":
        return exact
    observed = float(binom.pmf(b, b + c, 0.5))
    # At b = c the observed split is one outcome; elsewhere it and its mirror are two.
    return exact - (observed / 2 if b == c else observed)


def paired_t_bounds(differences: ArrayLike, confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean of per-image differences, such as of NLL or Brier.

    mean -+ t s / sqrt(n), t the quantile with n - 1 degrees of freedom. Source: Student, The
    probable error of a mean, 1908.

    Args:
        differences: Candidate minus reference, image by image, floating point [n], n >= 2.
        confidence: Two-sided, between 0 and 1.

    Returns:
        (low, high), in the unit of the differences; both the mean where all differences are
        equal.

    Raises:
        DataError: For NaN or infinity, fewer than two values, or a confidence outside 0..1.

    Example:
        >>> low, high = paired_t_bounds([0.01, -0.02, 0.03, 0.0], confidence=0.9)
        >>> print(f"{low:.4f} {high:.4f}")
        -0.0195 0.0295
    """
    with extra("gate"):
        from scipy.special import stdtrit

    sample = as_sample(differences, "differences")
    check_confidence(confidence)
    mean = float(sample.mean())
    error = float(sample.std(ddof=1)) / math.sqrt(sample.size)
    half = float(stdtrit(sample.size - 1, 0.5 + confidence / 2)) * error
    return mean - half, mean + half


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of several p-values, in the order given.

    An adjusted value at or below alpha is a finding at the family-wise level alpha. Source: Holm,
    Scandinavian Journal of Statistics 6:65-70, 1979.

    Args:
        p_values: Each within 0..1; there may be none.

    Returns:
        The adjusted values, each at least the one given, at most 1.

    Raises:
        DataError: For a value outside 0..1, or NaN.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    for p in p_values:
        if not 0.0 <= p <= 1.0:
            raise DataError(
                "p-value", got=str(p), expected="a number from 0 to 1", fix="pass p-values"
            )
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
