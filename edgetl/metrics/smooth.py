"""Calibration error without bins."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edgetl.metrics.accuracy import top_answers
from edgetl.metrics.checks import FloatArray

# Residuals are placed on a grid this fine; kernels are at least two of its steps wide.
_STEPS = 8192
_NARROWEST = 2.0 / _STEPS
# 2^-40 of the bracket 0..1 is far under what the grid resolves.
_HALVINGS = 40


def smooth_ece(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Smooth expected calibration error of the top answer: an ECE that needs no bins.

    The residuals (right - confidence) are smoothed by a Gaussian of width s, reflected at 0 and
    1, and |residual density| is integrated over the confidence. That falls as s grows, and the
    error is the s that equals it: no width has to be chosen, and a small change of a confidence
    changes the error little. Source: Blasiok and Nakkiran, arXiv 2309.12236.

    Residuals are shared between the two nearest points of a grid of 1/8192. An error under
    2/8192 is given as what a kernel of that width shows.

    Args:
        probabilities: Floating point [n, K].
        labels: Integers [n].

    Returns:
        The error, 0..1.

    Raises:
        DataError: When the arrays are not such, hold NaN, or do not fit together.

    Example:
        >>> round(smooth_ece([[0.9, 0.1]], [0]), 4)
        0.1
    """
    confidence, right = top_answers(probabilities, labels)
    waves = _cosines(_on_grid(confidence, right - confidence) / len(right))
    low, high = _NARROWEST, 1.0
    if _smoothed_error(waves, low) <= low:
        return _smoothed_error(waves, low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if _smoothed_error(waves, middle) > middle:
            low = middle
        else:
            high = middle
    return high


def _on_grid(place: FloatArray, weight: FloatArray) -> FloatArray:
    """Each weight shared between the two points of the grid around its place, [steps + 1]."""
    scaled = place * _STEPS
    left = np.minimum(scaled.astype(np.int64), _STEPS - 1)
    to_the_right = (scaled - left) * weight
    total: FloatArray = np.zeros(_STEPS + 1)
    total[:-1] += np.bincount(left, weight - to_the_right, minlength=_STEPS)
    total[1:] += np.bincount(left, to_the_right, minlength=_STEPS)
    return total


def _cosines(weights: FloatArray) -> FloatArray:
    """sum_j w_j cos(pi k x_j) for k = 0..steps: reflection at both ends makes a cosine series."""
    mirrored = np.concatenate([weights, weights[-2:0:-1]])
    mirrored[[0, _STEPS]] *= 2.0
    return np.fft.rfft(mirrored).real / 2.0


def _smoothed_error(waves: FloatArray, width: float) -> float:
    """The integral over 0..1 of |density|, smoothed by a reflected Gaussian."""
    # A Gaussian of this width dampens the k-th wave by exp(-(pi k width)^2 / 2).
    dampened = waves * np.exp(-0.5 * np.square(np.pi * width * np.arange(_STEPS + 1)))
    density = np.abs(np.fft.irfft(2.0 * _STEPS * dampened, 2 * _STEPS)[: _STEPS + 1])
    return float((density.sum() - (density[0] + density[-1]) / 2.0) / _STEPS)
