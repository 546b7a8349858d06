from __future__ import annotations

import pytest

from edgetl.report.ticks import log_limits, log_ticks


@pytest.mark.parametrize(
    "values", [(1.0,), (0.15, 0.3), (0.1, 3.9), (1e-3, 50.0), (1e-6, 1e6), (7.1, 7.2)]
)
def test_ticks_lie_inside_and_are_few(values: tuple[float, ...]) -> None:
    low, high = log_limits(values, pad=1.5)
    ticks = log_ticks(low, high)
    assert 1 <= len(ticks) <= 7 and ticks == sorted(ticks)
    assert all(low <= tick <= high for tick in ticks)
