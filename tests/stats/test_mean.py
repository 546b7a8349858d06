from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statsmodels.stats.weightstats import DescrStatsW

from edgetl.errors import DataError
from edgetl.stats import mean_bounds, paired_t_bounds, tost, tost_p
from edgetl.stats.mean import moments, with_one_more

NAN = float("nan")
samples = st.lists(st.floats(-50, 50), min_size=3, max_size=40)


def skewed(seed: int, n: int = 400) -> np.ndarray:
    """Mostly next to nothing, and a few large: the shape of NLL differences."""
    random = np.random.default_rng(seed)
    values = random.normal(0.0, 0.02, n)
    values[random.random(n) < 0.03] += random.exponential(1.5)
    return values


@pytest.mark.parametrize("seed", range(3))
def test_moments_agree_with_scipy(seed):
    values = skewed(seed)
    found = moments(values)
    assert found.mean == pytest.approx(values.mean(), rel=1e-12)
    assert found.sd == pytest.approx(values.std(ddof=1), rel=1e-12)
    assert found.skewness == pytest.approx(scipy.stats.skew(values, bias=False), rel=1e-10)


def test_moments_of_wide_and_narrow_values():
    values = skewed(1)
    for scale in (1e-160, 1e150):
        assert moments(values * scale).skewness == pytest.approx(moments(values).skewness)
    assert moments([0.1] * 3).sd == 0.0
    assert moments([0.1, 0.4]).skewness == 0.0


def published_bound(values: np.ndarray, confidence: float) -> float:
    """The upper bound, from the expansion itself, of the sample with its farthest value again."""
    student = paired_t_bounds(values, confidence)[1]
    values = np.append(values, values.mean() + abs(values - values.mean()).max())
    n, error = values.size, scipy.stats.sem(values)
    k = scipy.stats.skew(values, bias=False) / math.sqrt(n)
    quantile = scipy.stats.t.ppf(0.5 + confidence / 2, n - 1)
    expansion = values.mean() + error * (quantile + max(k, 0.0) * (1 + 2 * quantile**2) / 6)
    return max(expansion, student)


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.99])
@pytest.mark.parametrize("seed", range(3))
def test_the_bounds_are_those_of_the_expansion(seed, confidence):
    values = skewed(seed)
    low, high = mean_bounds(values, confidence)
    assert high == pytest.approx(published_bound(values, confidence), rel=1e-9)
    assert low == pytest.approx(-published_bound(-values, confidence), rel=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 10, 30, 100])
def test_equal_values_among_zeros_are_bounded_like_a_poisson_count(count):
    values = np.zeros(100_000)
    values[:count] = 1.0
    exact = scipy.stats.chi2.ppf(0.95, 2 * count + 2) / 2
    assert 1.0 <= mean_bounds(values, 0.9)[1] * values.size / exact < 1.16


def test_without_skewness_and_with_many_values_it_is_students_interval():
    half = np.random.default_rng(0).normal(0.0, 1.0, 20_000)
    values = np.concatenate([half, -half])
    low, high = DescrStatsW(values).tconfint_mean(alpha=0.1)
    assert mean_bounds(values, 0.9) == pytest.approx((low, high), rel=0.03)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("n", [2, 3, 50])
def test_one_more_value_has_the_moments_of_the_longer_sample(n, side):
    values = skewed(2, n) + 0.3
    longer = np.append(values, values.mean() + side * abs(values - values.mean()).max())
    got, expected = with_one_more(moments(values), side), moments(longer)
    assert (got.n, got.mean, got.sd) == pytest.approx((n + 1, expected.mean, expected.sd))
    assert got.skewness == pytest.approx(expected.skewness, abs=1e-9)


@given(samples, st.sampled_from([0.5, 0.9, 0.99]))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_it_mirrors_and_is_never_closer_than_student(values, confidence):
    low, high = mean_bounds(values, confidence)
    assert mean_bounds([-value for value in values], confidence) == pytest.approx((-high, -low))
    student_low, student_high = paired_t_bounds(values, confidence)
    slack = 1e-9 * (1 + abs(student_high - student_low))
    assert low <= student_low + slack and student_high - slack <= high
    assert math.isfinite(low) and math.isfinite(high)


@given(samples, st.floats(-5, 5), st.floats(0.01, 100))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_it_moves_and_scales_with_the_values(values, shift, scale):
    assume(max(values) - min(values) > 1e-3)
    low, high = mean_bounds(values)
    moved = mean_bounds([shift + scale * value for value in values])
    assert moved == pytest.approx((shift + scale * low, shift + scale * high), rel=1e-6, abs=1e-6)


def test_more_confidence_is_a_wider_interval():
    for seed in range(5):
        ends = [mean_bounds(skewed(seed, 30), c) for c in (0.5, 0.8, 0.9, 0.99, 0.9999)]
        assert all(b[0] < a[0] and a[1] < b[1] for a, b in itertools.pairwise(ends))


def test_what_it_does_when_it_cannot_know():
    assert mean_bounds([0.1, 0.4]) == pytest.approx(paired_t_bounds([0.1, 0.4]))
    assert mean_bounds([0.1] * 3) == (0.1, 0.1)
    assert mean_bounds(np.zeros(1000)) == (0.0, 0.0)


def test_a_skewed_mean_on_the_margin_passes_at_most_at_alpha_where_students_passes_more():
    """A few images that lost their answer, as a candidate with a damaged layer shows them."""
    n, runs, random = 1000, 2000, np.random.default_rng(3)
    values = random.normal(0.0, 0.05, (runs, n)) + random.exponential(0.4, (runs, n)) * (
        random.random((runs, n)) < 0.05
    )
    margin = 0.02
    student = np.mean([paired_t_bounds(row, 0.9)[1] < margin for row in values])
    corrected = np.mean([mean_bounds(row, 0.9)[1] < margin for row in values])
    error = math.sqrt(0.05 * 0.95 / runs)
    assert student > 0.05 + 3 * error
    assert corrected < 0.05 + 3 * error


def test_equivalence_is_an_interval_within_the_margin():
    assert tost(-0.009, 0.009, 0.01)
    assert not tost(-0.01, 0.009, 0.01)
    assert not tost(-0.009, 0.01, 0.01)
    assert not tost(NAN, 0.0, 0.01)
    assert not tost(0.0, NAN, 0.01)
    assert not tost(-math.inf, math.inf, 0.01)


def test_tost_p_agrees_with_statsmodels_where_nothing_is_skewed():
    half = np.random.default_rng(4).normal(0.0, 0.1, 5000)
    values = np.concatenate([half, -half]) + 0.0004
    expected, _, _ = DescrStatsW(values).ttost_mean(-0.002, 0.002)
    assert tost_p(values, 0.002) == pytest.approx(expected, abs=0.02)
    assert tost_p(values, 0.002) > expected


@given(samples, st.floats(0.001, 0.4), st.floats(0.01, 60))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_tost_p_is_below_alpha_exactly_where_the_interval_is_within(values, alpha, margin):
    p = tost_p(values, margin)
    assume(abs(p - alpha) > 1e-6)
    assert (p < alpha) == tost(*mean_bounds(values, 1 - 2 * alpha), margin)


def test_tost_p_of_equal_values():
    assert tost_p([0.0, 0.0], 0.01) == 0.0
    assert tost_p([0.01, 0.01], 0.01) == 1.0
    assert tost_p([-0.02, -0.02], 0.01) == 1.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_bounds([0.1]),
        lambda: mean_bounds([0.1, NAN]),
        lambda: mean_bounds([0.1, math.inf]),
        lambda: mean_bounds([[0.1, 0.2]]),
        lambda: mean_bounds([0.1, 0.2], NAN),
        lambda: mean_bounds([0.1, 0.2], 1.0),
        lambda: tost(0.0, 0.0, 0.0),
        lambda: tost(0.0, 0.0, NAN),
        lambda: tost_p([0.0, 0.1], -0.1),
        lambda: tost_p([0.0, NAN], 0.1),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(DataError):
        call()
