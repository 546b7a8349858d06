"""Round ticks for a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence


def log_limits(values: Sequence[float], *, pad: float = 1.15) -> tuple[float, float]:
    """Limits that hold every positive value with a factor of `pad` to spare on each side.

    Example:
        >>> log_limits([1.0, 2.0], pad=2.0)
        (0.5, 4.0)
    """
    return min(values) / pad, max(values) * pad


def log_ticks(low: float, high: float) -> list[float]:
    """Ticks at 1, 2 and 5 times powers of ten, thinned to at most seven.

    Example:
        >>> log_ticks(0.9, 12)
        [1.0, 2.0, 5.0, 10.0]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= (5 if len(steps) == 7 else 7):
            return inside
    every = math.ceil(len(inside) / 7)
    return inside[::every]
