from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetl.errors import DataError
from edgetl.stats import hodges_lehmann, quantile_bounds, quantile_minimum

NAN = float("nan")


@pytest.mark.parametrize("q", [0.05, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("n", [2, 40, 299, 1000])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_quantile_bounds_agree_with_scipy(n, q, confidence):
    sample = np.random.default_rng(n).lognormal(size=n)
    test = scipy.stats.quantile_test(sample, q=0.0, p=q)
    low, high = test.confidence_interval(confidence)
    expected = (-math.inf if np.isnan(low) else low, math.inf if np.isnan(high) else high)
    assert quantile_bounds(sample, q, confidence) == expected


def test_299_values_are_the_fewest_that_bound_p99():
    assert quantile_minimum(0.99) == 299
    sample = np.arange(299.0)
    assert quantile_bounds(sample, 0.99, 0.9)[1] == 298.0
    assert quantile_bounds(sample[:298], 0.99, 0.9)[1] == math.inf


@given(st.floats(0.01, 0.995), st.floats(0.5, 0.999))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_the_minimum_is_where_the_largest_value_becomes_a_bound(q, confidence):
    n = quantile_minimum(q, confidence)
    assert q**n <= (1 - confidence) * (1 + 1e-9)
    assert n == 1 or q ** (n - 1) > (1 - confidence) * (1 - 1e-9)


def test_ties_keep_the_interval():
    assert quantile_bounds([5.0] * 300, 0.5) == (5.0, 5.0)


def test_quantile_bounds_cover_as_often_as_they_say():
    random, runs = np.random.default_rng(2), 2000
    true = scipy.stats.lognorm.ppf(0.9, 1.0)
    over = [quantile_bounds(random.lognormal(size=120), 0.9, 0.9)[1] < true for _ in range(runs)]
    assert np.mean(over) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def listed(values: np.ndarray) -> np.ndarray:
    pairs = np.add.outer(values, values)[np.triu_indices(values.size)] / 2
    return np.sort(pairs)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_the_estimate_is_the_median_of_all_pairwise_means(values):
    estimate, low, high = hodges_lehmann(values)
    assert estimate == pytest.approx(np.median(listed(np.array(values))), abs=1e-12, rel=1e-12)
    assert low <= estimate <= high


# R's wilcox.test(d, conf.int = TRUE) on the depression scores of Hollander and Wolfe, example 3.1.
BEFORE = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
AFTER = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])


def test_the_published_example():
    estimate, low, high = hodges_lehmann(AFTER - BEFORE, 0.95)
    assert estimate == pytest.approx(-0.46, abs=1e-9)
    assert (low, high) == pytest.approx((-0.786, -0.010), abs=5e-4)


@pytest.mark.parametrize("n", [6, 9, 25, 60, 250])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_holds_the_centres_that_the_signed_rank_test_keeps(n, confidence):
    values = np.random.default_rng(n).normal(0.3, 1.0, n)
    _, low, high = hodges_lehmann(values, confidence)
    method = "exact" if n <= 50 else "approx"
    for centre, kept in (
        (np.nextafter(low, math.inf), True),
        (low - 1e-9, False),
        (np.nextafter(high, -math.inf), True),
        (high + 1e-9, False),
    ):
        p = scipy.stats.wilcoxon(values - centre, method=method, correction=n > 50).pvalue
        slack = 0.0 if n <= 50 else 0.01
        if kept:
            assert p > 1 - confidence - slack
        else:
            assert p <= 1 - confidence + slack


def test_five_values_bound_nothing_at_95_percent():
    assert hodges_lehmann([1.0, 2.0, 3.0, 4.0, 5.0])[1:] == (-math.inf, math.inf)
    assert all(map(math.isfinite, hodges_lehmann([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])))


def test_counting_and_the_normal_approximation_meet():
    values = np.random.default_rng(0).normal(size=201)
    counted, approximate = hodges_lehmann(values[:200]), hodges_lehmann(values)
    assert counted == pytest.approx(approximate, abs=0.02)


def test_equal_and_far_apart_values():
    assert hodges_lehmann([0.1] * 8) == (0.1, 0.1, 0.1)
    estimate, low, high = hodges_lehmann([-1e300, 1e300] * 4)
    assert (estimate, low, high) == pytest.approx((0.0, -1e300, 1e300), abs=1e288)


def test_a_wild_value_hardly_moves_it():
    values = np.random.default_rng(1).normal(size=100)
    wild = values.copy()
    wild[0] = 1e9
    assert hodges_lehmann(wild) == pytest.approx(hodges_lehmann(values), abs=0.1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: quantile_bounds([1.0], 0.5),
        lambda: quantile_bounds([1.0, NAN], 0.5),
        lambda: quantile_bounds([1.0, 2.0], 1.0),
        lambda: quantile_bounds([1.0, 2.0], NAN),
        lambda: quantile_bounds([1.0, 2.0], 0.5, 1.0),
        lambda: quantile_minimum(0.0),
        lambda: quantile_minimum(0.99, NAN),
        lambda: hodges_lehmann([1.0]),
        lambda: hodges_lehmann([1.0, math.inf]),
        lambda: hodges_lehmann([1.0, 2.0], 0.0),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(DataError):
        call()
