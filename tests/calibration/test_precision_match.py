from __future__ import annotations

import math

import numpy as np
import pytest

from edgetl.calibration.precision_match import match_precision


def sample(seed: int, n: int = 400):
    random = np.random.default_rng(seed)
    reference = random.uniform(0.5, 1.0, n)
    candidate = np.clip(reference + random.normal(0.0, 0.05, n), 0.4, 1.0)
    right = random.random(n) < reference
    other = np.where(random.random(n) < 0.1, random.random(n) < candidate, right)
    order = np.argsort(-candidate, kind="stable")
    return candidate[order], right[order], other[order], reference[order]


def predictive_value_test(first, second, ill) -> float:
    """The weighted score statistic of two predictive values, from its eight counts, signed.

    Kosinski's formula as published: both tests are about the same disease.
    """
    count = lambda *parts: int(np.logical_and.reduce(parts).sum())  # noqa: E731
    total1, total2 = count(first), count(second)
    value1, value2 = count(first, ill) / total1, count(second, ill) / total2
    pooled = (count(first, ill) + count(second, ill)) / (total1 + total2)
    both_ill, both_well = count(first, second, ill), count(first, second, ~ill)
    shared = (both_ill * (1 - pooled) ** 2 + both_well * pooled**2) / (total1 + total2)
    variance = (pooled * (1 - pooled) - 2 * shared) * (1 / total1 + 1 / total2)
    return 0.0 if value1 == value2 else (value1 - value2) / math.sqrt(variance)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [0.6, 0.8, 0.9])
def test_the_interval_ends_where_the_published_test_rejects(seed: int, threshold: float):
    candidate, right, _, reference = sample(seed)
    kept = reference >= threshold
    # The same answers on both sides: the case that the published formula is for.
    found = match_precision(candidate, right, right, kept, threshold, 1.96)
    assert found is not None
    own, low, high = found
    assert low <= own <= high
    scores = {float(one): predictive_value_test(candidate >= one, kept, right) for one in candidate}
    below = [one for one in candidate if low < one <= own]
    above = [one for one in candidate if own < one <= high]
    assert all(scores[one] >= -1.96 for one in below)
    assert all(scores[one] <= 1.96 for one in above)
    if low > 0:
        assert scores[low] < -1.96
    if high < 1:
        assert scores[min(candidate[candidate > high])] > 1.96


@pytest.mark.parametrize("seed", range(6))
def test_the_precision_is_kept_to_within_one_image(seed: int):
    candidate, right, other, reference = sample(seed)
    kept = reference >= 0.8
    found = match_precision(candidate, other, right, kept, 0.8, 1.96)
    assert found is not None
    accepted = candidate >= found[0]
    wanted = right[kept].mean()
    assert other[accepted].mean() >= wanted - 1e-12
    assert other[accepted].mean() - wanted <= 1 / accepted.sum() + 1e-12


def test_of_many_thresholds_the_one_of_equal_acceptance_is_kept():
    candidate, right, _, _ = sample(0)
    kept = candidate >= 0.8
    assert match_precision(candidate, right, right, kept, 0.8, 1.96)[0] == 0.8


def test_nothing_bounds_what_is_always_right():
    candidate = np.linspace(1.0, 0.5, 50)
    right = np.ones(50, bool)
    assert match_precision(candidate, right, right, candidate >= 0.7, 0.7, 1.96) == (0.7, 0.0, 1.0)


def test_a_better_candidate_may_accept_everything():
    candidate = np.linspace(1.0, 0.5, 200)
    half = np.arange(200) % 2 == 0
    own, low, high = match_precision(
        candidate, np.ones(200, bool), half, candidate >= 0.7, 0.7, 1.96
    )
    # Every candidate's answer is right: however few are accepted, precision is above the half.
    assert (own, low) == (0.5, 0.0)
    assert high < 1


def test_an_unreachable_precision_is_none():
    candidate = np.linspace(1.0, 0.5, 50)
    right = np.ones(50, bool)
    assert match_precision(candidate, ~right, right, candidate >= 0.7, 0.7, 1.96) is None
    assert match_precision(candidate, right, right, candidate >= 2.0, 0.7, 1.96) is None


def test_images_of_one_confidence_are_accepted_together():
    candidate = np.repeat([0.9, 0.7, 0.6], 20)
    right = np.repeat([True, True, False], 20)
    kept = np.arange(60) < 30
    own, low, high = match_precision(candidate, right, right, kept, 0.7, 1.96)
    assert int((candidate >= own).sum()) in (20, 40)
    assert low in (0.0, 0.6, 0.7) and high in (0.7, 0.9, 1.0)
