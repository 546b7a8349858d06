from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetl.errors import DataError
from edgetl.stats.bounded_mean import mean_bound_sample_size, mean_upper_bound

unit = st.floats(0, 1, allow_nan=False)


@settings(deadline=None)  # the first call imports scipy
@given(st.lists(unit, min_size=2, max_size=40), st.randoms())
def test_the_bound_is_above_the_mean_and_knows_no_order(values, random):
    bound = mean_upper_bound(values)
    assert np.mean(values) <= bound <= 1
    random.shuffle(values)
    assert mean_upper_bound(values) == pytest.approx(bound, abs=1e-9)


@settings(deadline=None)  # the first call imports scipy
@given(st.lists(unit, min_size=2, max_size=20), st.floats(0.001, 0.2))
def test_a_smaller_alpha_and_a_greater_value_raise_it(values, alpha):
    bound = mean_upper_bound(values, alpha)
    assert mean_upper_bound(values, alpha / 2) >= bound - 1e-9
    assert mean_upper_bound([*values[1:], 1.0], alpha) >= bound - 1e-9


@pytest.mark.parametrize("mean", [0.001, 0.004, 0.02, 0.3])
@pytest.mark.parametrize("n", [50, 400])
def test_it_is_too_low_in_at_most_alpha_of_all_samples(mean, n):
    """Bernoulli values spread most, and rare ones are what bounds for large n forget."""
    random = np.random.default_rng(0)
    hits = random.binomial(n, mean, 20_000)
    counts, times = np.unique(hits, return_counts=True)
    low = [mean_upper_bound(np.repeat([1.0, 0.0], [count, n - count])) < mean for count in counts]
    assert times[low].sum() / 20_000 <= 0.05


def test_it_is_close_where_values_spread_little():
    """A bound by the variance alone would be sqrt(2 s² log(1/alpha) / n) off; this pays more."""
    random = np.random.default_rng(1)
    values = random.uniform(0.2, 0.3, 5000)
    normal = values.mean() + 1.645 * values.std() / math.sqrt(5000)
    assert normal < mean_upper_bound(values) < normal + 0.003


def test_a_range_scales_it():
    values = np.array([0.0, 0.2, 1.7, 0.4])
    assert mean_upper_bound(values, largest=2.0) == pytest.approx(2 * mean_upper_bound(values / 2))


@pytest.mark.parametrize("mean", [0.0, 0.003])
def test_the_planned_number_decides_as_often_as_planned(mean):
    random = np.random.default_rng(2)

    def draw(n):
        return np.clip(random.exponential(mean, n) if mean else np.zeros(n), 0, 1)

    n = mean_bound_sample_size(draw(5000), 0.008)
    assert n is not None
    decided = [mean_upper_bound(draw(n)) < 0.008 for _ in range(100)]
    assert np.mean(decided) >= 0.75


def test_no_number_decides_a_mean_over_the_limit():
    assert mean_bound_sample_size([0.2, 0.3], 0.1) is None
    assert mean_bound_sample_size([0.0, 0.1], 1.5) == 2


@pytest.mark.parametrize("values", [[0.5], [0.1, math.nan], [0.1, 1.1], [-0.1, 0.5], [[0.1, 0.2]]])
def test_other_values_are_refused(values):
    with pytest.raises(DataError):
        mean_upper_bound(values)
    with pytest.raises(DataError):
        mean_bound_sample_size(values, 0.1)
