"""The temperature that makes probabilities honest (numpy and scipy)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from edgetl.errors import DataError
from edgetl.extras import extra
from edgetl.metrics.checks import FloatArray, IntArray, as_labels, as_logits

SMALLEST_TEMPERATURE = 0.05
LARGEST_TEMPERATURE = 20.0
# Of log(1/T).
_FIRST_STEP = 0.1


@dataclass(frozen=True, kw_only=True)
class TemperatureFit:
    """A fitted temperature and how far to trust it.

    Attributes:
        temperature: What raw logits are divided by.
        at_bound: Whether the optimum lies outside 0.05..20, so that the bound was taken: a fit
            set without a single error has no finite optimum.
        standard_error_log: Standard error of log(temperature) by the influence function
            (the sandwich estimate); None at a bound, where there is none.
        n: Images in the fit set.

    Example:
        >>> TemperatureFit(temperature=1.5, at_bound=False, standard_error_log=0.03, n=900).n
        900
    """

    temperature: float
    at_bound: bool
    standard_error_log: float | None
    n: int


def fit_temperature(raw_logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature T that minimises the NLL of softmax(raw_logits / T).

    The NLL is convex in 1/T, so its derivative E[sum_k p_k z_k - z_label] has one root, which is
    bracketed and solved for. Source: Guo et al., arXiv 1706.04599, section 4.2.

    Args:
        raw_logits: Logits before any temperature, floating point [n, K], from images that the
            network was not trained on.
        labels: Integers [n].

    Returns:
        The temperature, within 0.05..20; see `fit_temperature_report` for whether it is at a
        bound.

    Raises:
        DataError: When the arrays are not such, hold NaN, do not fit together, or when no row
            prefers any class, so that no temperature changes anything.

    Example:
        >>> logits = [[2.0, 0.0]] * 3 + [[0.0, 2.0]]
        >>> round(fit_temperature(logits, [0, 0, 1, 1]), 4)
        1.8205
    """
    return fit_temperature_report(raw_logits, labels).temperature


def fit_temperature_report(raw_logits: ArrayLike, labels: ArrayLike) -> TemperatureFit:
    """`fit_temperature`, with its standard error and whether it ended at a bound.

    Args:
        raw_logits: Logits before any temperature, floating point [n, K].
        labels: Integers [n].

    Raises:
        DataError: As for `fit_temperature`.

    Example:
        >>> fit = fit_temperature_report([[2.0, 0.0], [0.0, 3.0]], [0, 1])
        >>> fit.temperature, fit.at_bound
        (0.05, True)
    """
    with extra("gate"):
        from scipy.optimize import brentq

    logits = as_logits(raw_logits, "raw logits")
    classes = as_labels(labels, *logits.shape)
    # Only differences within a row matter; from the row's maximum they cannot overflow.
    logits -= logits.max(axis=1, keepdims=True)
    if not logits.any():
        raise DataError(
            "raw logits",
            got="equal logits for all classes in every row",
            expected="a classifier that prefers some class",
            fix="check that the network was trained and its weights were loaded",
        )

    def slope(log_beta: float) -> float:
        return float(_scores(logits, classes, math.exp(log_beta)).mean())

    bracket = _bracket(slope)
    if isinstance(bracket, float):
        return _at_bound(bracket, len(classes))
    beta = math.exp(float(brentq(slope, *bracket, xtol=1e-14)))
    return TemperatureFit(
        temperature=1 / beta,
        at_bound=False,
        standard_error_log=_standard_error_log(logits, classes, beta),
        n=len(classes),
    )


def _bracket(slope: Callable[[float], float]) -> tuple[float, float] | float:
    """Two values of log(1/T) with the root between them, or the bound that it lies beyond.

    From T = 1 outward in growing steps: most temperatures are near, and each look is a pass over
    all the logits.
    """
    downward = slope(0.0) > 0
    bound = LARGEST_TEMPERATURE if downward else SMALLEST_TEMPERATURE
    last, step = -math.log(bound), _FIRST_STEP
    inner = 0.0
    while inner != last:
        outer = max(last, -step) if downward else min(last, step)
        if (slope(outer) < 0) if downward else (slope(outer) > 0):
            return (outer, inner) if downward else (inner, outer)
        inner, step = outer, 3 * step
    return bound


def _at_bound(temperature: float, n: int) -> TemperatureFit:
    return TemperatureFit(temperature=temperature, at_bound=True, standard_error_log=None, n=n)


def _softmax(logits: FloatArray) -> FloatArray:
    powers = np.exp(logits)
    result: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    return result


def _scores(logits: FloatArray, classes: IntArray, beta: float) -> FloatArray:
    """The derivative of each image's NLL in beta = 1/T."""
    mean = (_softmax(beta * logits) * logits).sum(axis=1)
    result: FloatArray = mean - logits[np.arange(len(classes)), classes]
    return result


def log_temperature_influence(
    raw_logits: ArrayLike, labels: ArrayLike, temperature: float
) -> FloatArray:
    """How much each image moves the fitted log(T), times n: its influence function.

    The score of an image over the curvature of the mean NLL, both in beta = 1/T, over beta: the
    delta method for log T = -log beta. Its mean is 0 at the fitted temperature, and its spread over
    sqrt(n) the standard error of log(T).

    Args:
        raw_logits: Logits before any temperature, floating point [n, K].
        labels: Integers [n].
        temperature: As fitted to them, not at a bound.

    Returns:
        float64 [n].

    Raises:
        DataError: When the arrays are not such, hold NaN, or do not fit together.

    Example:
        >>> logits = [[2.0, 0.0]] * 3 + [[0.0, 2.0]]
        >>> labels = [0, 0, 1, 1]
        >>> log_temperature_influence(logits, labels, fit_temperature(logits, labels)).round(2)
        array([-1.21, -1.21,  3.64, -1.21])
    """
    logits = as_logits(raw_logits, "raw logits")
    classes = as_labels(labels, *logits.shape)
    logits -= logits.max(axis=1, keepdims=True)
    return _influence(logits, classes, 1 / temperature)


def _influence(logits: FloatArray, classes: IntArray, beta: float) -> FloatArray:
    p = _softmax(beta * logits)
    mean = (p * logits).sum(axis=1, keepdims=True)
    curvature = float((p * np.square(logits - mean)).sum(axis=1).mean())
    result: FloatArray = _scores(logits, classes, beta) / (curvature * beta)
    return result


def _standard_error_log(logits: FloatArray, classes: IntArray, beta: float) -> float:
    influence = _influence(logits, classes, beta)
    return float(np.sqrt(np.square(influence).mean() / len(classes)))
