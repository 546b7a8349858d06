from __future__ import annotations

import pytest

from edgetl.stats.search import LARGEST_N, crossing, out_of_reach


@pytest.mark.parametrize("n", [1, 2, 99, 100, 101, 4321, LARGEST_N])
def test_it_finds_where_a_condition_begins(n):
    asked: list[int] = []

    def reached(size: int) -> bool:
        asked.append(size)
        return size >= n

    assert crossing(reached) == n
    assert len(asked) < 60


def test_what_no_number_reaches_is_none():
    assert crossing(lambda n: False) is None


def test_a_distance_of_nothing_is_out_of_reach():
    assert out_of_reach(0.0, 0.0, 0.8, 0.05)
    assert out_of_reach(1e-9, 1.0, 0.8, 0.05)
    assert not out_of_reach(0.01, 1.0, 0.8, 0.05)
    # A power below alpha is there without a single image.
    assert not out_of_reach(1e-9, 1.0, 0.01, 0.05)
