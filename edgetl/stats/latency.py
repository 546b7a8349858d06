"""The ratio of two latencies from interleaved blocks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from edgetl.errors import DataError
from edgetl.stats.checks import as_sample
from edgetl.stats.paired import paired_t_bounds

# exp of more leaves the range of float64; no ratio of two latencies comes near it.
_FARTHEST = 700.0


def ratio_of_log(log_ratio: float) -> float:
    """exp(log_ratio), kept within 1e-304..1e304: few rounds that differ wildly bound nothing.

    Example:
        >>> ratio_of_log(0.0), ratio_of_log(1e9) < math.inf, ratio_of_log(-1e9) > 0
        (1.0, True, True)
    """
    return math.exp(max(-_FARTHEST, min(_FARTHEST, log_ratio)))


def log_ratio_interval(
    a_block_medians: ArrayLike, b_block_medians: ArrayLike, confidence: float = 0.95
) -> tuple[float, float, float]:
    """The ratio a / b of latencies with its interval: a t interval on log(a_i / b_i).

    The blocks of a round are measured right after one another, so that what slows the machine
    slows both and leaves their ratio. No block is left out.

    Args:
        a_block_medians: One positive time per round, floating point [rounds], rounds >= 2.
        b_block_medians: The other side's in the same rounds and unit.
        confidence: Two-sided, between 0 and 1.

    Returns:
        (estimate, low, high) of a / b; the estimate is the geometric mean of the ratios.

    Raises:
        DataError: For times that are not positive and finite, two lengths that differ, fewer
            than two rounds, or a confidence outside 0..1.

    Example:
        >>> ratio = log_ratio_interval([2.0, 2.2, 1.9], [1.0, 1.0, 1.0])
        >>> print(" ".join(f"{value:.3f}" for value in ratio))
        2.030 1.687 2.442
    """
    a = as_sample(a_block_medians, "block medians a")
    b = as_sample(b_block_medians, "block medians b")
    if a.shape != b.shape:
        raise DataError(
            "block medians",
            got=f"{a.size} and {b.size} rounds",
            expected="one block of each side per round",
            fix="measure both sides interleaved, in one run",
        )
    if min(a.min(), b.min()) <= 0:
        raise DataError(
            "block medians",
            got=f"a time of {min(a.min(), b.min()):g}",
            expected="positive times",
            fix="use a monotonic clock with nanoseconds",
        )
    logs = np.log(a) - np.log(b)
    low, high = paired_t_bounds(logs, confidence)
    return ratio_of_log(float(logs.mean())), ratio_of_log(low), ratio_of_log(high)
