"""The search for the number of images at which a power is reached."""

from __future__ import annotations

import math
from collections.abc import Callable

from edgetl.stats.checks import normal_quantile

LARGEST_N = 10_000_000
# Where the search starts and how it grows decide which crossing of the sawtooth is found. These
# find the ones of edgetl's published planning table.
_FIRST_N = 100
_GROWTH = 1.5


def out_of_reach(distance: float, variance: float, power: float, alpha: float) -> bool:
    """Whether a normal approximation says that LARGEST_N images are far too few.

    Args:
        distance: Between the true value and the limit.
        variance: Of one image's value.
        power: The probability to decide that is wanted.
        alpha: One-sided level.
    """
    reach = distance * math.sqrt(4 * LARGEST_N)
    wanted = normal_quantile(1 - alpha) + normal_quantile(power)
    return distance == 0.0 or (wanted > 0 and reach < wanted * math.sqrt(variance))


def crossing(reached: Callable[[int], bool]) -> int | None:
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
