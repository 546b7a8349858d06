from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from edgetl.errors import DataError
from edgetl.stats import (
    clopper_pearson,
    paired_sample_size,
    rate_power,
    rate_sample_size,
    structural_minimum,
    tango,
    tango_power,
    tango_sample_size,
)
from tests.stats.helpers.published import SAMPLE_SIZES


@pytest.mark.parametrize(("margin", "n"), [(0.005, 539), (0.01, 268), (0.02, 133)])
def test_the_structural_minima(margin, n):
    assert structural_minimum(margin) == n
    assert tango_power(n, 0.0, 0.0, margin) == 1.0
    assert tango_power(n - 1, 0.0, 0.0, margin) == 0.0


@pytest.mark.parametrize("cell", SAMPLE_SIZES)
def test_the_sample_sizes_of_the_planning_table(cell):
    margin, discordance = cell
    for power, n in zip((0.8, 0.9), SAMPLE_SIZES[cell], strict=True):
        assert paired_sample_size(margin=margin, discordance=discordance, power=power) == n
        assert tango_power(n, 0.0, discordance, margin) >= power
        assert tango_power(n - 1, 0.0, discordance, margin) < power


@pytest.mark.parametrize("cell", SAMPLE_SIZES)
def test_above_the_answer_power_dips_by_next_to_nothing(cell):
    margin, discordance = cell
    for power, n in zip((0.8, 0.9), SAMPLE_SIZES[cell], strict=True):
        sizes = range(n, n + max(60, n // 100), 2)
        assert min(tango_power(size, 0.0, discordance, margin) for size in sizes) > power - 0.0003


def enumerated_power(n, difference, discordance, margin, alpha):
    """Every outcome of the trinomial, each decided by the interval itself."""
    p_b, p_c = (discordance + difference) / 2, (discordance - difference) / 2
    total = 0.0
    for b in range(n + 1):
        for c in range(n + 1 - b):
            low, high = tango(b, c, n, 1 - 2 * alpha)
            decided = low > -margin if difference >= -margin else high < -margin
            if decided:
                rest = n - b - c
                total += scipy.stats.multinomial.pmf([b, c, rest], n, [p_b, p_c, 1 - p_b - p_c])
    return total


@pytest.mark.parametrize(
    ("difference", "discordance", "margin", "alpha"),
    [
        (0.0, 0.1, 0.2, 0.05),
        (0.05, 0.3, 0.1, 0.025),
        (-0.1, 0.2, 0.1, 0.05),
        (-0.3, 0.4, 0.1, 0.05),
    ],
)
def test_power_is_that_of_every_outcome_enumerated(difference, discordance, margin, alpha):
    expected = enumerated_power(30, difference, discordance, margin, alpha)
    got = tango_power(30, difference, discordance, margin, alpha)
    assert got == pytest.approx(expected, abs=1e-9)
    assert 0.01 < got < 1.0


@pytest.mark.parametrize("discordance", [0.02, 0.03, 0.05])
@pytest.mark.parametrize("n", [1000, 2000, 10_000])
def test_on_the_margin_the_gate_passes_at_about_alpha(n, discordance):
    """The false-pass rate, computed exactly."""
    assert tango_power(n, -0.01, discordance, 0.01) == pytest.approx(0.05, abs=0.012)


def test_power_agrees_with_a_simulation():
    random = np.random.default_rng(11)
    draws = random.multinomial(540, [0.015, 0.015, 0.97], size=3000)
    passes = [tango(b, c, 540, 0.9)[0] > -0.02 for b, c, _ in draws.tolist()]
    assert np.mean(passes) == pytest.approx(tango_power(540, 0.0, 0.03, 0.02), abs=0.025)


def test_more_images_are_needed_near_the_margin_and_on_either_side_of_it():
    sizes = [tango_sample_size(d, 0.03, 0.01) for d in (0.0, -0.004, -0.008)]
    assert None not in sizes
    assert sizes == sorted(sizes)
    beyond = tango_sample_size(-0.02, 0.03, 0.01)
    assert beyond is not None
    assert tango_power(beyond, -0.02, 0.03, 0.01) >= 0.8


def test_a_difference_on_the_margin_is_never_decided():
    assert tango_sample_size(-0.01, 0.03, 0.01) is None
    assert tango_sample_size(-0.01 + 1e-9, 0.03, 0.01) is None
    assert rate_sample_size(0.03, 0.03) is None
    assert rate_sample_size(0.03 + 1e-9, 0.03) is None


def test_a_margin_that_no_number_of_images_decides_is_an_error_of_the_planner():
    assert tango_sample_size(0.0, 0.0, 1e-9) is None
    with pytest.raises(DataError, match="larger margin"):
        paired_sample_size(margin=1e-9, discordance=0.01)


def test_a_wide_margin_needs_few_images():
    n = paired_sample_size(margin=0.5, discordance=0.1)
    assert n < 20
    assert tango_power(n, 0.0, 0.1, 0.5) >= 0.8 > tango_power(n - 1, 0.0, 0.1, 0.5)


def enumerated_rate_power(n, rate, limit, alpha):
    total = 0.0
    for k in range(n + 1):
        low, high = clopper_pearson(k, n, 1 - 2 * alpha)
        if (high < limit) if rate < limit else (low > limit):
            total += scipy.stats.binom.pmf(k, n, rate)
    return total


@pytest.mark.parametrize(
    ("rate", "limit", "power", "alpha"),
    [(0.0, 0.03, 0.8, 0.05), (0.02, 0.1, 0.8, 0.05), (0.2, 0.1, 0.9, 0.025), (1.0, 0.5, 0.8, 0.05)],
)
def test_rate_sample_size_is_a_crossing_of_the_enumerated_power(rate, limit, power, alpha):
    n = rate_sample_size(rate, limit, power, alpha)
    assert n is not None
    assert enumerated_rate_power(n, rate, limit, alpha) >= power
    assert enumerated_rate_power(n - 1, rate, limit, alpha) < power
    for images in (n, n - 1, n + 7):
        expected = enumerated_rate_power(images, rate, limit, alpha)
        assert rate_power(images, rate, limit, alpha) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [50, 300, 1000, 10_000])
@pytest.mark.parametrize("limit", [0.01, 0.03])
def test_a_rate_on_its_limit_passes_at_most_as_often_as_alpha_says(n, limit):
    assert rate_power(n, limit, limit) <= 0.05


def test_a_rate_of_zero_is_the_rule_of_three():
    n = rate_sample_size(0.0, 0.03)
    assert n == math.ceil(math.log(0.05) / math.log(0.97))


NAN = float("nan")


@pytest.mark.parametrize(
    "call",
    [
        lambda: structural_minimum(0.0),
        lambda: structural_minimum(NAN),
        lambda: structural_minimum(0.01, 1.0),
        lambda: paired_sample_size(margin=1.0, discordance=0.1),
        lambda: paired_sample_size(margin=0.01, discordance=-0.1),
        lambda: paired_sample_size(margin=0.01, discordance=NAN),
        lambda: paired_sample_size(margin=0.01, discordance=0.1, power=1.0),
        lambda: paired_sample_size(margin=0.01, discordance=0.1, alpha=0.0),
        lambda: tango_sample_size(0.05, 0.01, 0.01),
        lambda: tango_sample_size(NAN, 0.01, 0.01),
        lambda: tango_power(0, 0.0, 0.1, 0.01),
        lambda: rate_sample_size(-0.1, 0.03),
        lambda: rate_sample_size(NAN, 0.03),
        lambda: rate_sample_size(0.01, 1.0),
        lambda: rate_power(0, 0.01, 0.03),
        lambda: rate_power(100, NAN, 0.03),
        lambda: rate_power(100, 0.01, 0.03, 0.0),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(DataError):
        call()
