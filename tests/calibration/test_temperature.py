from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize

from edgetl.calibration import TemperatureFit, fit_temperature, fit_temperature_report
from edgetl.errors import DataError
from edgetl.metrics import ece, nll, softmax


def sample(seed: int, n: int, temperature: float, classes: int = 10):
    """Raw logits whose honest temperature is known: labels are drawn from softmax(z / T)."""
    random = np.random.default_rng(seed)
    honest = random.normal(0.0, 2.5, (n, classes))
    p = softmax(honest)
    labels = (p.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return honest * temperature, np.minimum(labels, classes - 1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_it_finds_the_minimum_that_a_search_of_the_nll_finds(temperature):
    logits, labels = sample(0, 800, temperature)
    searched = scipy.optimize.minimize_scalar(
        lambda log_t: nll(softmax(logits / math.exp(log_t)), labels),
        bounds=(-3.0, 3.0),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert fit_temperature(logits, labels) == pytest.approx(math.exp(searched.x), rel=1e-5)


def test_it_recovers_the_temperature_that_made_the_labels():
    fit = fit_temperature_report(*sample(1, 20_000, 1.7))
    assert not fit.at_bound
    assert fit.n == 20_000
    assert abs(math.log(fit.temperature / 1.7)) < 3 * fit.standard_error_log
    assert fit.standard_error_log < 0.02


def test_the_temperature_makes_an_overconfident_model_honest():
    logits, labels = sample(2, 4000, 3.0)
    temperature = fit_temperature(logits[:2000], labels[:2000])
    before, after = softmax(logits[2000:]), softmax(logits[2000:] / temperature)
    assert nll(after, labels[2000:]) < nll(before, labels[2000:]) - 0.1
    assert ece(after, labels[2000:]) < ece(before, labels[2000:]) / 3


def test_scaling_the_logits_scales_the_temperature():
    logits, labels = sample(3, 500, 1.2)
    temperature = fit_temperature(logits, labels)
    assert fit_temperature(4 * logits, labels) == pytest.approx(4 * temperature, rel=1e-9)
    shifted = logits + np.linspace(-1e6, 1e6, 500)[:, None]
    assert fit_temperature(shifted, labels) == pytest.approx(temperature, rel=1e-6)
    assert fit_temperature(logits / temperature, labels) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("n", [500, 1000])
def test_the_standard_error_is_the_spread_of_many_fits(n):
    fits = [fit_temperature_report(*sample(seed, n, 1.5)) for seed in range(150)]
    spread = np.std([math.log(fit.temperature) for fit in fits], ddof=1)
    stated = np.mean([fit.standard_error_log for fit in fits])
    assert stated == pytest.approx(spread, rel=0.2)
    assert stated == pytest.approx(0.04 * math.sqrt(500 / n), rel=0.35)


def test_a_fit_set_without_an_error_ends_at_the_bound_and_says_so():
    logits = np.eye(4)[[0, 1, 2, 3] * 5] * 3.0
    fit = fit_temperature_report(logits, [0, 1, 2, 3] * 5)
    assert fit == TemperatureFit(temperature=0.05, at_bound=True, standard_error_log=None, n=20)


def test_a_model_worse_than_guessing_ends_at_the_other_bound():
    logits = np.eye(4)[[0, 1, 2, 3] * 5] * 3.0
    fit = fit_temperature_report(logits, [1, 2, 3, 0] * 5)
    assert fit == TemperatureFit(temperature=20.0, at_bound=True, standard_error_log=None, n=20)


def test_large_logits_do_not_overflow():
    logits, labels = sample(4, 300, 1.0)
    scaled = logits * np.float64(15.0)
    assert fit_temperature(scaled, labels) == pytest.approx(15 * fit_temperature(logits, labels))
    assert fit_temperature(logits * 1e300, labels) == 20.0


def test_float32_logits_and_the_callers_array():
    logits, labels = sample(5, 300, 1.4)
    single = logits.astype(np.float32)
    before = single.copy()
    assert fit_temperature(single, labels) == pytest.approx(
        fit_temperature(logits, labels), rel=1e-5
    )
    np.testing.assert_array_equal(single, before)
    fit_temperature(logits, labels)
    np.testing.assert_array_equal(logits, sample(5, 300, 1.4)[0])


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        ([[1.0, float("nan")]], [0], "NaN"),
        ([[1.0, float("inf")]], [0], "NaN or infinity"),
        ([[1.0, 2.0]], [2], "labels"),
        ([[1.0, 2.0]], [0, 1], "labels"),
        ([[3.0, 3.0], [1.0, 1.0]], [0, 1], "prefers"),
        ([1.0, 2.0], [0], "raw logits"),
        (np.zeros((0, 3)), [], "raw logits"),
    ],
)
def test_bad_input_is_refused(logits, labels, words):
    with pytest.raises(DataError, match=words):
        fit_temperature(logits, labels)
