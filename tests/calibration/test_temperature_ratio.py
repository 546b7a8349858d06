from __future__ import annotations

import math

import numpy as np
import pytest

from edgetl.calibration import fit_temperature, fit_temperature_report, log_temperature_ratio
from edgetl.calibration.temperature import log_temperature_influence
from edgetl.errors import DataError
from edgetl.metrics import softmax
from edgetl.stats import mean_bounds


def sample(seed: int, n: int, temperature: float, classes: int = 10):
    """Raw logits whose honest temperature is known: labels are drawn from softmax(z / T)."""
    random = np.random.default_rng(seed)
    honest = random.normal(0.0, 2.5, (n, classes))
    labels = (softmax(honest).cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return honest * temperature, np.minimum(labels, classes - 1)


def pair(seed: int, n: int, sharper: float, noise: float = 0.4):
    """A reference, and a candidate that is noisier and sharper by the factor."""
    reference, labels = sample(seed, n, 1.3)
    disturbed = reference + np.random.default_rng(seed + 1).normal(0.0, noise, reference.shape)
    return reference, sharper * disturbed, labels


def test_scaled_logits_are_a_ratio_without_an_error():
    reference, labels = sample(0, 600, 1.0)
    found = log_temperature_ratio(reference, 1.2 * reference, labels)
    assert (found.log_ratio, found.low, found.high) == pytest.approx((math.log(1.2),) * 3, abs=1e-6)
    assert found.n == 600
    assert not found.at_bound


def test_the_estimate_is_that_of_the_two_fits_and_mirrors():
    reference, candidate, labels = pair(3, 800, 0.9)
    found = log_temperature_ratio(reference, candidate, labels)
    expected = math.log(fit_temperature(candidate, labels) / fit_temperature(reference, labels))
    assert found.log_ratio == pytest.approx(expected, abs=1e-12)
    assert found.low < found.log_ratio < found.high
    other = log_temperature_ratio(candidate, reference, labels)
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low), abs=1e-12)


def test_the_influence_is_what_an_image_moves_the_fit():
    """The infinitesimal jackknife against the thing itself: each image left out in turn."""
    logits, labels = sample(5, 400, 1.5)
    temperature = fit_temperature(logits, labels)
    influence = log_temperature_influence(logits, labels, temperature)
    assert influence.mean() == pytest.approx(0.0, abs=1e-9)
    keep = ~np.eye(400, dtype=bool)[:40]
    moved = [
        math.log(temperature / fit_temperature(logits[rows], labels[rows])) * 399 for rows in keep
    ]
    np.testing.assert_allclose(influence[:40], moved, rtol=0.1, atol=0.05)


def test_the_influence_gives_the_standard_error_of_one_fit():
    logits, labels = sample(6, 500, 1.5)
    fit = fit_temperature_report(logits, labels)
    influence = log_temperature_influence(logits, labels, fit.temperature)
    assert math.sqrt(np.square(influence).mean() / 500) == pytest.approx(fit.standard_error_log)


def test_the_values_carry_the_interval_at_any_confidence():
    reference, candidate, labels = pair(7, 500, 1.1)
    for confidence in (0.8, 0.99):
        found = log_temperature_ratio(reference, candidate, labels, confidence)
        assert found.values.mean() == pytest.approx(found.log_ratio, abs=1e-9)
        assert mean_bounds(found.values, confidence) == (found.low, found.high)


def test_pairing_makes_the_interval_narrow():
    """At 2000 images a half width near 0.01, where a single fit has a standard error of 0.03."""
    reference, candidate, labels = pair(9, 2000, 1.0, noise=0.2)
    found = log_temperature_ratio(reference, candidate, labels, 0.9)
    assert found.high - found.low < 0.04
    assert fit_temperature_report(reference, labels).standard_error_log > found.high - found.low


def test_a_ratio_on_the_margin_passes_at_about_alpha():
    big_reference, big_candidate, big_labels = pair(20, 60_000, 1.12)
    true = log_temperature_ratio(big_reference, big_candidate, big_labels).log_ratio
    random, runs, below, above = np.random.default_rng(1), 400, 0, 0
    for _ in range(runs):
        rows = random.integers(0, 60_000, 500)
        found = log_temperature_ratio(
            big_reference[rows], big_candidate[rows], big_labels[rows], 0.9
        )
        below += found.high < true
        above += found.low > true
    limit = 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert below / runs < limit
    assert above / runs < limit
    assert (below + above) / runs > 0.02


def test_log_probabilities_are_logits():
    reference, candidate, labels = pair(11, 300, 1.1)
    logs = [np.log(np.maximum(softmax(side), 1e-12)) for side in (reference, candidate)]
    direct = log_temperature_ratio(reference, candidate, labels)
    assert log_temperature_ratio(*logs, labels).log_ratio == pytest.approx(
        direct.log_ratio, abs=1e-3
    )


@pytest.mark.parametrize("side", ["reference", "candidate", "both"])
def test_a_side_without_an_error_has_no_ratio(side):
    logits, labels = sample(12, 200, 1.0)
    right = 5.0 * np.eye(10)[labels]
    first = right if side != "candidate" else logits
    second = right if side != "reference" else logits
    found = log_temperature_ratio(first, second, labels)
    assert found.at_bound
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert math.isfinite(found.log_ratio)
    assert found.values.size == 0


def test_a_candidate_that_prefers_no_class_is_at_a_bound():
    logits, labels = sample(13, 200, 1.0)
    found = log_temperature_ratio(logits, np.full_like(logits, 0.3), labels)
    assert found.at_bound
    assert found.high == math.inf


@pytest.mark.parametrize(
    ("reference", "candidate", "labels"),
    [
        ([[1.0, 0.0]] * 3, [[1.0, 0.0]] * 2, [0, 1, 0]),
        ([[1.0, 0.0]] * 2, [[1.0, 0.0, 0.0]] * 2, [0, 1]),
        ([[1.0, 0.0]] * 2, [[1.0, math.nan]] * 2, [0, 1]),
        ([[1.0, 0.0]] * 2, [[1.0, -math.inf]] * 2, [0, 1]),
        ([[1.0, 0.0]] * 2, [[1.0, 0.0]] * 2, [0, 2]),
        ([[1, 0]] * 2, [[1, 0]] * 2, [0, 1]),
    ],
)
def test_bad_input_is_refused(reference, candidate, labels):
    with pytest.raises(DataError):
        log_temperature_ratio(reference, candidate, labels)
