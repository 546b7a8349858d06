from __future__ import annotations

import math

import numpy as np
import pytest

from edgetl.errors import DataError
from edgetl.stats import ResampledPower, mean_bounds, mean_power, mean_sample_size

NAN = float("nan")


def flipping(n: int = 4000, share: float = 0.004) -> np.ndarray:
    """As confidence against correctness moves: next to nothing, and a whole step at a flip."""
    random = np.random.default_rng(1)
    values = random.normal(0.0, 0.01, n)
    values += random.choice([-1.0, 0.0, 1.0], n, p=[share, 1 - 2 * share, share])
    return values - values.mean()


@pytest.mark.parametrize("n", [2, 100, 600])
@pytest.mark.parametrize(("mean", "both"), [(0.0, False), (0.0, True), (0.04, False)])
def test_it_is_how_often_the_bounds_of_drawn_values_decide(n, mean, both):
    values, margin, runs = flipping() + mean, 0.015, 1500
    random, decided = np.random.default_rng(5), 0
    for _ in range(runs):
        low, high = mean_bounds(values[random.integers(0, values.size, n)], 0.9)
        if mean > margin:
            decided += low > margin
        else:
            decided += high < margin and (low > -margin or not both)
    power = ResampledPower(values, margin, both=both)
    assert power(n) == pytest.approx(decided / runs, abs=4 * math.sqrt(0.5 / 1000))


def test_it_agrees_with_the_formula_where_the_moments_tell_all():
    values = np.random.default_rng(2).normal(0.0, 0.2, 5000)
    power = ResampledPower(values, 0.02, mean=0.0)
    for n in (200, 600, 1500):
        expected = mean_power(n, float(values.std()), 0.0, 0.0, 0.02)
        assert power(n) == pytest.approx(expected, abs=0.05)


def test_equal_input_gives_equal_answers():
    values = flipping()
    assert ResampledPower(values, 0.01)(500) == ResampledPower(values[::-1], 0.01)(500)


def test_the_unit_does_not_matter():
    values = flipping()
    expected = ResampledPower(values, 0.01)(500)
    for unit in (1e-150, 1e150):
        assert ResampledPower(values * unit, 0.01 * unit)(500) == pytest.approx(expected, abs=0.01)


def test_equal_values_are_decided_at_once():
    assert ResampledPower([0.0] * 9, 0.02)(2) == 1.0
    assert ResampledPower([0.1] * 9, 0.02)(2) == 1.0
    assert ResampledPower([0.02] * 9, 0.02)(2) == 0.0


def test_samples_too_small_to_hold_what_is_rare_are_not_planned() -> None:
    values = flipping(n=20_000, share=0.0015)
    n, spread = mean_sample_size(values, 0.01, mean=0.0), float(values.std())
    assert n is not None
    assert ResampledPower(values, 0.01, mean=0.0)(n) >= 0.77
    # Fewer pass as often, only because they hold none of it; the formula says that it counts.
    assert ResampledPower(values, 0.01, mean=0.0)(100) > 0.7
    assert (
        mean_power(n, spread, 0.0, 0.0, 0.01) > 0.8 > 0.5 > mean_power(100, spread, 0.0, 0.0, 0.01)
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: ResampledPower([0.1], 0.02),
        lambda: ResampledPower([0.1, NAN], 0.02),
        lambda: ResampledPower([0.1, 0.2], NAN),
        lambda: ResampledPower([0.1, 0.2], 0.02, 1.0),
        lambda: ResampledPower([0.1, 0.2], 0.02, mean=NAN),
        lambda: ResampledPower([0.1, 0.2], 0.02)(1),
        lambda: ResampledPower([0.1, 0.2], 0.02, draws=0),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(DataError):
        call()
