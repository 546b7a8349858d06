from __future__ import annotations

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from edgetl.errors import DataError
from edgetl.train.domain_gap import domain_gap, median_bandwidth, mmd2_unbiased


def drawn(n: int, *, seed: int, shift: float = 0.0, scale: float = 1.0, d: int = 4) -> NDArray:
    return np.random.default_rng(seed).normal(shift, scale, (n, d))


def test_mmd_is_the_double_sum_of_the_paper() -> None:
    x, y, sigma = drawn(11, seed=0), drawn(13, seed=1, shift=1.0), 1.7

    def k(a: NDArray, b: NDArray) -> float:
        return math.exp(-float(((a - b) ** 2).sum()) / (2 * sigma**2))

    within = sum(k(x[i], x[j]) for i in range(11) for j in range(11) if i != j) / (11 * 10)
    other = sum(k(y[i], y[j]) for i in range(13) for j in range(13) if i != j) / (13 * 12)
    across = sum(k(a, b) for a in x for b in y) / (11 * 13)
    expected = within + other - 2 * across
    assert mmd2_unbiased(x, y, bandwidth=sigma) == pytest.approx(expected, rel=1e-12)


def test_mmd_of_two_gaussians_is_the_one_in_closed_form() -> None:
    """N(0, 1) and N(m, 1), kernel of width s: 2 s / r (1 - exp(-m^2 / (2 r^2))), r^2 = s^2 + 2."""
    m, s = 1.0, 1.5
    r = math.sqrt(s**2 + 2)
    exact = 2 * s / r * (1 - math.exp(-(m**2) / (2 * r**2)))
    x, y = drawn(1500, seed=0, d=1), drawn(1500, seed=1, shift=m, d=1)

    assert mmd2_unbiased(x, y, bandwidth=s) == pytest.approx(exact, abs=0.02)


def test_mmd_has_no_bias_where_there_is_no_gap() -> None:
    found = [
        mmd2_unbiased(drawn(20, seed=2 * i), drawn(20, seed=2 * i + 1), bandwidth=2.0)
        for i in range(200)
    ]

    assert abs(np.mean(found)) < 3 * np.std(found) / math.sqrt(200)
    assert min(found) < 0 < max(found)


def test_a_place_far_from_zero_changes_nothing() -> None:
    x, y = drawn(30, seed=0), drawn(30, seed=1, shift=1.0)

    moved = mmd2_unbiased(x + 1e6, y + 1e6, bandwidth=2.0)
    assert moved == pytest.approx(mmd2_unbiased(x, y, bandwidth=2.0), rel=1e-6)


def test_the_p_value_is_as_often_small_as_it_says() -> None:
    """Of domains that are one, a twentieth has p <= 0.05; the bound is three errors of that."""
    ps = [
        domain_gap(drawn(15, seed=2 * i), drawn(15, seed=2 * i + 1), permutations=99).p_value
        for i in range(100)
    ]

    assert min(ps) >= 1 / 100
    assert np.mean(np.array(ps) <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 100)
    assert 0.35 < np.mean(ps) < 0.65


def test_one_domain_shows_no_gap() -> None:
    gap = domain_gap(drawn(200, seed=0), drawn(150, seed=1))

    assert not gap.shown
    assert gap.domain_accuracy == pytest.approx(0.5, abs=0.1)
    assert gap.proxy_a_distance < 0.4
    assert gap.sentence.startswith("no gap shown")


def test_the_domain_classifier_reaches_the_best_there_is() -> None:
    """Two Gaussians m apart: the best rule is right in norm.cdf(m / 2) of cases."""
    gap = domain_gap(drawn(500, seed=0, d=1), drawn(500, seed=1, shift=2.0, d=1))

    assert gap.domain_accuracy == pytest.approx(norm.cdf(1.0), abs=0.03)
    assert gap.proxy_a_distance == pytest.approx(2 * (2 * gap.domain_accuracy - 1))
    assert gap.p_value == pytest.approx(1 / 501)
    assert "source and target differ" in gap.sentence


def test_unlike_sizes_do_not_make_domains_look_alike_or_apart() -> None:
    gap = domain_gap(drawn(500, seed=0), drawn(30, seed=1))

    assert not gap.shown
    assert gap.domain_accuracy == pytest.approx(0.5, abs=0.15)


def test_a_difference_of_spread_alone_is_seen_by_the_kernel_and_not_by_the_line() -> None:
    gap = domain_gap(drawn(200, seed=0), drawn(200, seed=1, scale=2.0))

    assert gap.shown
    assert gap.domain_accuracy < 0.65


def test_of_many_images_a_part_is_taken() -> None:
    gap = domain_gap(drawn(90, seed=0), drawn(40, seed=1), most=50, permutations=20)

    assert (gap.source_images, gap.target_images) == (50, 40)


def test_the_same_seed_gives_the_same_figures_as_plain_data() -> None:
    one, other = (
        domain_gap(drawn(60, seed=0), drawn(60, seed=1), most=50, permutations=20) for _ in range(2)
    )

    assert one == other
    assert json.loads(json.dumps(one.to_json()))["sentence"] == one.sentence


def test_the_bandwidth_is_the_median_and_defined_for_copies() -> None:
    x = np.zeros((12, 2))

    assert median_bandwidth(np.array([[0.0], [1.0]]), np.array([[3.0]])) == 2.0
    assert median_bandwidth(x, x) == 1.0
    assert median_bandwidth(x, np.eye(2)) == pytest.approx(
        (12 * 2 * 1.0 + math.sqrt(2)) / (14 * 13 / 2)
    )


def test_features_that_are_all_equal_show_no_gap() -> None:
    gap = domain_gap(np.ones((20, 3)), np.ones((20, 3)), permutations=20)

    assert (gap.mmd2, gap.p_value, gap.shown) == (0.0, 1.0, False)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.full((20, 4), np.nan), "NaN or infinity"),
        (np.zeros((9, 4)), "at least 10"),
        (np.zeros((20, 4, 1)), r"shape \[20, 4, 1\]"),
        (np.zeros((20, 3)), "3 and 4 numbers"),
    ],
)
def test_features_that_are_none_are_refused(source: NDArray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        domain_gap(source, drawn(20, seed=0))
