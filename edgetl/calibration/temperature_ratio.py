"""How much softer or sharper a candidate's probabilities are than its reference's."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from edgetl.calibration.temperature import (
    LARGEST_TEMPERATURE,
    TemperatureFit,
    fit_temperature_report,
    log_temperature_influence,
)
from edgetl.errors import DataError
from edgetl.metrics.checks import FloatArray, IntArray, as_labels, as_logits
from edgetl.stats import mean_bounds


@dataclass(frozen=True, kw_only=True, eq=False)
class TemperatureRatio:
    """The log ratio of two fitted temperatures, with its interval.

    Attributes:
        log_ratio: log(T_candidate / T_reference): above 0 where the candidate is sharper, more
            confident for what it knows, than the reference.
        low, high: Its interval; -inf and inf where a temperature is at a bound.
        n: Images.
        at_bound: Whether a temperature has no finite optimum, or none within 0.05..20.
        values: float64 [n], one per image, whose mean is `log_ratio` and whose `mean_bounds` are
            the interval at any other confidence; empty at a bound.

    Example:
        >>> TemperatureRatio(log_ratio=0.02, low=0.01, high=0.03, n=900, at_bound=False).n
        900
    """

    log_ratio: float
    low: float
    high: float
    n: int
    at_bound: bool
    values: FloatArray = field(default_factory=lambda: np.empty(0), repr=False)


def log_temperature_ratio(
    reference_logits: ArrayLike,
    candidate_logits: ArrayLike,
    labels: ArrayLike,
    confidence: float = 0.95,
) -> TemperatureRatio:
    """log(T_candidate / T_reference), T the temperature that would fit each on these labels.

    Both fits see the same images, so what they have in common cancels: the interval is that of
    the mean of per-image differences of influence functions, corrected for skewness. The influence
    of an image on log T is its score s = sum_k p_k z_k - z_label over beta E[var_p(z)], with
    beta = 1/T and p = softmax(beta z). Source: Huber, Robust Statistics, 1981, section 3.2; Guo et
    al., arXiv 1706.04599, for the temperature.

    Log probabilities are logits too. A probability of 0 has none: enter log(max(p, 1e-12)), the
    floor of `edgetl.metrics.per_image_nll`. A temperature has no finite optimum on images without
    an error; and a side that prefers no class anywhere has none at all and is taken to be at the
    upper bound. Then nothing is known of the ratio: the interval is without end.

    Args:
        reference_logits: Logits or log probabilities, floating point [n, K], n >= 2.
        candidate_logits: The same of the candidate, image by image.
        labels: Integers [n].
        confidence: Two-sided, between 0 and 1.

    Returns:
        The log ratio and its interval.

    Raises:
        DataError: When the arrays are not such, hold NaN or infinity, or do not fit together.

    Example:
        >>> reference = [[2.0, 0.0], [3.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
        >>> candidate = [[2.2, 0.0], [3.3, 0.0], [1.1, 0.0], [0.0, 1.1]]
        >>> found = log_temperature_ratio(reference, candidate, [0, 0, 1, 1])
        >>> print(f"{found.log_ratio:.4f}")
        0.0953
    """
    reference, candidate = as_logits(reference_logits), as_logits(candidate_logits)
    if reference.shape != candidate.shape:
        raise DataError(
            "logits",
            got=f"shapes {list(reference.shape)} and {list(candidate.shape)}",
            expected="the same images and classes on both sides",
            fix="match the two sets of predictions image by image",
        )
    classes = as_labels(labels, *reference.shape)
    first, second = _fit(reference, classes), _fit(candidate, classes)
    log_ratio = math.log(second.temperature / first.temperature)
    if first.at_bound or second.at_bound:
        return TemperatureRatio(
            log_ratio=log_ratio, low=-math.inf, high=math.inf, n=len(classes), at_bound=True
        )
    values = log_temperature_influence(candidate, classes, second.temperature)
    values += log_ratio - log_temperature_influence(reference, classes, first.temperature)
    low, high = mean_bounds(values, confidence)
    return TemperatureRatio(
        log_ratio=log_ratio, low=low, high=high, n=len(classes), at_bound=False, values=values
    )


def _fit(logits: FloatArray, classes: IntArray) -> TemperatureFit:
    if (logits == logits[:, :1]).all():
        return TemperatureFit(
            temperature=LARGEST_TEMPERATURE,
            at_bound=True,
            standard_error_log=None,
            n=len(classes),
        )
    return fit_temperature_report(logits, classes)
