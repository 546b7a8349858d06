"""Learning rates as functions of the step, so that a resumed run needs no schedule state."""

from __future__ import annotations

import math

from edgetl.train.config import Schedule

_WARM_UP_PART = 0.1
_DROPS = 3
_DROP = 0.1


def learning_rate_at(step: int, steps: int, peak: float, schedule: Schedule = "cosine") -> float:
    """The rate of one step: a linear warm-up over the first tenth, then what the schedule says.

    ``"cosine"`` falls along half a cosine to zero (Loshchilov and Hutter 2017, arXiv:1608.03983),
    ``"linear"`` along a line to zero, ``"constant"`` stays, and ``"step"`` is a tenth after each
    third of what follows the warm-up (He et al. 2016, arXiv:1512.03385).

    Args:
        step: From 0.
        steps: Of the whole phase.
        peak: The highest rate.
        schedule: How the rate falls.

    Example:
        >>> [round(learning_rate_at(step, 20, 1.0), 3) for step in (0, 1, 2, 11, 19)]
        [0.5, 1.0, 1.0, 0.5, 0.008]
        >>> [round(learning_rate_at(step, 20, 1.0, "step"), 3) for step in (1, 7, 8, 14, 19)]
        [1.0, 1.0, 0.1, 0.01, 0.01]
    """
    warm_up = max(1, round(steps * _WARM_UP_PART))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    if schedule == "cosine":
        # Written as it always was: another order of the operations rounds otherwise, and a run
        # must give the same bytes again.
        return peak * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
    if schedule == "linear":
        return peak * (1 - done)
    if schedule == "step":
        return peak * _DROP ** math.floor(_DROPS * done)
    return peak
