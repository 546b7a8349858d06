from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from edgetl.errors import DataError
from edgetl.stats import log_ratio_interval


def test_it_agrees_with_scipy_on_the_logs():
    random = np.random.default_rng(0)
    a, b = random.lognormal(1.0, 0.1, 24), random.lognormal(0.5, 0.1, 24)
    logs = np.log(a / b)
    expected = scipy.stats.ttest_1samp(logs, 0.0).confidence_interval(0.9)
    got = log_ratio_interval(a, b, 0.9)
    np.testing.assert_allclose(got, np.exp([logs.mean(), *expected]), rtol=1e-12)


def test_swapping_the_sides_inverts_the_ratio():
    random = np.random.default_rng(1)
    a, b = random.lognormal(1.0, 0.1, 10), random.lognormal(0.5, 0.1, 10)
    estimate, low, high = log_ratio_interval(a, b)
    assert log_ratio_interval(b, a) == pytest.approx((1 / estimate, 1 / high, 1 / low))
    # The unit of the times leaves the ratio alone.
    assert log_ratio_interval(a * 1e-3, b * 1e-3) == pytest.approx((estimate, low, high))


def test_what_slows_both_sides_of_a_round_leaves_the_interval_alone():
    random = np.random.default_rng(2)
    a, b = random.lognormal(0.0, 0.01, 24), random.lognormal(0.0, 0.01, 24)
    load = random.uniform(1.0, 3.0, 24)
    assert log_ratio_interval(a * load, b * load) == pytest.approx(log_ratio_interval(a, b))


def test_the_interval_covers_the_true_ratio_as_often_as_it_says():
    random = np.random.default_rng(5)
    covered = 0
    for _ in range(600):
        a = 1.1 * random.lognormal(0.0, 0.05, 24)
        _, low, high = log_ratio_interval(a, random.lognormal(0.0, 0.05, 24))
        covered += low <= 1.1 <= high
    assert covered / 600 == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1.0, 0.0], [1.0, 1.0]),
        ([1.0, 1.0], [1.0, -1.0]),
        ([1.0, float("nan")], [1.0, 1.0]),
        ([1.0, 1.0], [1.0, float("inf")]),
        ([1.0], [1.0]),
        ([1.0, 1.0, 1.0], [1.0, 1.0]),
    ],
)
def test_bad_times_are_refused(a, b):
    with pytest.raises(DataError, match="block medians"):
        log_ratio_interval(a, b)
