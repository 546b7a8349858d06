from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.power import TTestPower

from edgetl.errors import DataError
from edgetl.stats import (
    ResampledPower,
    mean_bounds,
    mean_power,
    mean_sample_size,
    paired_t_sample_size,
)
from edgetl.stats.mean_power import _pearson3

NAN = float("nan")


@pytest.mark.parametrize("n", [30, 156, 1000])
@pytest.mark.parametrize("mean", [0.0, 0.01, 0.05])
def test_without_skewness_it_is_the_power_of_students_test(n, mean):
    expected = TTestPower().power(abs(0.02 - mean) / 0.1, n, 0.05, alternative="larger")
    # One more value costs something where there are few.
    assert expected - 6 / n**0.5 * 0.2 < mean_power(n, 0.1, 0.0, mean, 0.02) < expected + 1e-3


@pytest.mark.parametrize("skewness", [-3.0, -0.2, 1e-4, 0.5, 4.0])
@pytest.mark.parametrize("x", [-2.5, 0.0, 1.0, 3.0])
def test_the_distribution_agrees_with_scipy(x, skewness):
    assert _pearson3(x, skewness) == pytest.approx(scipy.stats.pearson3.cdf(x, skewness), abs=1e-9)


def draws(kind: str, shape: tuple[int, int]) -> np.ndarray:
    """Standardised values: with the long tail towards harm, away from it, or none."""
    random = np.random.default_rng(8)
    if kind == "symmetric":
        return random.normal(size=shape)
    tail = (random.gamma(0.25, size=shape) - 0.25) / 0.5
    return tail if kind == "harmful" else -tail


@pytest.mark.parametrize(
    ("kind", "skewness"), [("symmetric", 0.0), ("harmful", 4.0), ("harmless", -4.0)]
)
@pytest.mark.parametrize(("n", "mean"), [(500, 0.0), (1500, 0.0), (1500, 0.25)])
def test_power_agrees_with_a_simulation(kind, skewness, n, mean):
    runs, margin = 600, 0.1
    values = mean + draws(kind, (runs, n))
    low, high = zip(*(mean_bounds(row, 0.9) for row in values), strict=True)
    seen = np.mean(np.array(high) < margin if mean < margin else np.array(low) > margin)
    expected = mean_power(n, 1.0, skewness, mean, margin)
    assert seen == pytest.approx(expected, abs=0.04 + 3 * math.sqrt(0.25 / runs) * 0.5)


@pytest.mark.parametrize("skewness", [-5.0, 0.0, 5.0])
def test_on_the_margin_the_power_is_about_alpha(skewness):
    assert 0.02 < mean_power(5000, 0.1, skewness, 0.02, 0.02) < 0.055


def test_power_grows_with_images_and_falls_with_spread_and_harmful_skewness():
    sizes = [mean_power(n, 0.2, 5.0, 0.0, 0.02) for n in (50, 200, 500, 2000, 20_000)]
    assert sizes == sorted(sizes) and sizes[-1] > 0.999
    assert mean_power(300, 0.2, 0.0, 0.0, 0.02) > mean_power(300, 0.3, 0.0, 0.0, 0.02)
    assert mean_power(500, 0.2, 0.0, 0.0, 0.02) > mean_power(500, 0.2, 8.0, 0.0, 0.02)


def test_power_without_spread_is_certain():
    assert mean_power(2, 0.0, 0.0, 0.0, 0.02) == 1.0
    assert mean_power(2, 0.0, 0.0, 0.02, 0.02) == 0.0
    assert mean_power(2, 0.0, 0.0, 0.03, 0.02) == 1.0


@pytest.mark.parametrize("mean", [None, 0.0, 0.012, 0.05])
@pytest.mark.parametrize("power", [0.8, 0.9])
def test_a_sample_size_is_where_the_power_is_reached(mean, power):
    values = np.random.default_rng(5).gamma(0.3, 0.2, 500) - 0.06
    n = mean_sample_size(values, 0.02, power, mean=mean)
    assert n is not None
    true = values.mean() if mean is None else mean
    power_of = ResampledPower(values, 0.02, mean=true)
    assert power_of(n) >= power - 0.04
    # The formula from the moments is not far off where nothing is rare.
    formula = mean_power(n, values.std(ddof=1), scipy.stats.skew(values, bias=False), true, 0.02)
    assert formula == pytest.approx(power, abs=0.15)


def test_a_mean_on_the_margin_is_never_decided():
    values = [-0.1, 0.1] * 20
    assert mean_sample_size(values, 0.02, mean=0.02) is None
    assert mean_sample_size(values, 0.02, mean=0.02 - 1e-9) is None
    assert mean_sample_size([0.02, 0.02], 0.02) is None
    assert paired_t_sample_size(0.02, 0.1, 0.02) is None
    assert paired_t_sample_size(0.02 - 1e-9, 0.1, 0.02) is None


def test_equal_values_need_two():
    assert mean_sample_size([0.0] * 9, 0.02) == 2
    assert mean_sample_size([0.5] * 9, 0.02) == 2


@pytest.mark.parametrize(("mean", "sd", "margin"), [(0.0, 0.1, 0.02), (0.01, 0.3, 0.02)])
@pytest.mark.parametrize("power", [0.8, 0.9])
def test_paired_t_sample_size_agrees_with_statsmodels(mean, sd, margin, power):
    expected = TTestPower().solve_power(
        (margin - mean) / sd, alpha=0.05, power=power, alternative="larger"
    )
    assert paired_t_sample_size(mean, sd, margin, power) == math.ceil(float(expected))
    # A mean as far beyond the margin takes as many to FAIL.
    assert paired_t_sample_size(2 * margin - mean, sd, margin, power) == math.ceil(float(expected))


def test_paired_t_without_spread_needs_two_images():
    assert paired_t_sample_size(0.0, 0.0, 0.02) == 2
    assert paired_t_sample_size(0.0, 1e-9, 0.02) == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_power(1, 0.1, 0.0, 0.0, 0.02),
        lambda: mean_power(100, -0.1, 0.0, 0.0, 0.02),
        lambda: mean_power(100, 0.1, NAN, 0.0, 0.02),
        lambda: mean_power(100, 0.1, 0.0, NAN, 0.02),
        lambda: mean_power(100, 0.1, 0.0, 0.0, 0.02, 1.0),
        lambda: mean_sample_size([0.1], 0.02),
        lambda: mean_sample_size([0.1, NAN], 0.02),
        lambda: mean_sample_size([0.1, 0.2], NAN),
        lambda: mean_sample_size([0.1, 0.2], 0.02, 1.0),
        lambda: mean_sample_size([0.1, 0.2], 0.02, mean=math.inf),
        lambda: paired_t_sample_size(NAN, 0.1, 0.02),
        lambda: paired_t_sample_size(0.0, -0.1, 0.02),
        lambda: paired_t_sample_size(0.0, 0.1, math.inf),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(DataError):
        call()
