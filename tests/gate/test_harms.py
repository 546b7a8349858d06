from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import norm

from edgetl.calibration import log_temperature_ratio as temperature_ratio
from edgetl.gate import Policy, Predictions, judge
from edgetl.gate.harms import confidence_gap, log_temperature_ratio, power_of_one_side
from edgetl.stats import mean_bounds

N, K = 3000, 5
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, K, N)
LOGITS = RANDOM.normal(0, 1, (N, K)) + 3 * np.eye(K)[LABELS]
REFERENCE = softmax(LOGITS, axis=1)


def _sharper(beta: float) -> np.ndarray:
    return softmax(beta * LOGITS, axis=1)


@pytest.mark.parametrize("beta", [0.5, 0.9, 1.2, 2.0])
def test_the_log_temperature_ratio_is_the_scale_of_the_logits(beta: float) -> None:
    harm = log_temperature_ratio(REFERENCE, _sharper(beta), LABELS, 0.05)
    assert harm.estimate == pytest.approx(abs(math.log(beta)), abs=1e-6)
    assert f"{math.log(beta):+.4g}" in harm.remark(0.05, "FAIL")
    # The same network scaled: the ratio is known exactly.
    lower, upper = harm.bounds(0.05)
    assert lower == pytest.approx(upper, abs=1e-9)


def test_its_bounds_are_those_of_the_calibration_room_at_every_level() -> None:
    noisy = softmax(LOGITS + RANDOM.normal(0, 0.5, (N, K)), axis=1)
    harm = log_temperature_ratio(REFERENCE, noisy, LABELS, 0.05)
    for alpha in (0.05, 0.01, 0.005):
        found = temperature_ratio(
            np.log(REFERENCE), np.log(noisy), LABELS, confidence=1 - 2 * alpha
        )
        ends = sorted((abs(found.low), abs(found.high)))
        assert harm.bounds(alpha) == pytest.approx(
            (0.0 if found.low <= 0 <= found.high else ends[0], ends[1]), abs=1e-12
        )


def test_probabilities_of_zero_are_no_logits_and_count_as_the_floor() -> None:
    hard = np.where(REFERENCE < 0.01, 0.0, REFERENCE)
    hard /= hard.sum(axis=1, keepdims=True)
    harm = log_temperature_ratio(REFERENCE, hard, LABELS, 0.05)
    assert all(map(math.isfinite, (harm.estimate, *harm.bounds(0.05))))


def test_a_side_without_a_preference_has_no_temperature() -> None:
    flat = np.full((N, K), 1 / K)
    harm = log_temperature_ratio(REFERENCE, flat, LABELS, 0.05)
    assert harm.unknown and not harm.undefined
    assert harm.bounds(0.05) == (0.0, math.inf)
    assert harm.more_samples(0.05) is None


@pytest.mark.parametrize("beta", [0.8, 1.25])
def test_the_confidence_gap_counts_either_way(beta: float) -> None:
    candidate = _sharper(beta)
    harm = confidence_gap(REFERENCE, candidate, LABELS, 0.01)
    gap = candidate.max(axis=1) - REFERENCE.max(axis=1)  # no answer changes
    assert harm.estimate == pytest.approx(abs(gap.mean()), abs=1e-12)
    low, high = mean_bounds(gap, confidence=0.9)
    assert sorted(map(abs, (low, high))) == pytest.approx(harm.bounds(0.05))
    assert ("more confident" if beta > 1 else "less confident") in harm.remark(0.05, "FAIL")
    assert harm.exceeds(0.05)


def test_an_interval_that_holds_no_gap_has_no_lower_bound() -> None:
    noisy = softmax(LOGITS + RANDOM.normal(0, 0.2, (N, K)), axis=1)
    harm = confidence_gap(REFERENCE, noisy, LABELS, 0.01)
    lower, upper = harm.bounds(0.05)
    assert lower == 0.0 < upper


def test_a_candidate_is_as_confident_but_wrong() -> None:
    wrong = REFERENCE.copy()
    missed = RANDOM.permutation(N)[: N // 20]
    wrong[missed] = wrong[missed][:, ::-1]
    verdict = judge(
        Predictions(labels=LABELS, probabilities=REFERENCE),
        Predictions(labels=LABELS, probabilities=wrong),
        Policy(max_accuracy_drop=0.5, max_nll_increase=9.0, max_brier_increase=9.0,
               max_flip_rate=0.5, max_log_temperature_ratio=9.0),
    )  # fmt: skip
    assert verdict.gate("confidence_gap").verdict == "FAIL"
    assert "more confident" in verdict.gate("confidence_gap").detail


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.5])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_both_one_sided_tests_pass_together_with_80_percent_power(
    share: float, alpha: float
) -> None:
    power = power_of_one_side(share, alpha)
    # Of a normal mean, in units of its standard error: where the near limit has to lie.
    near = norm.isf(alpha) + norm.ppf(power)
    far = near * (1 + share) / (1 - share)
    z = norm.isf(alpha)
    assert norm.cdf(near - z) + norm.cdf(far - z) - 1 == pytest.approx(0.8, abs=1e-6)


def test_the_promised_number_of_images_decides_a_confidence_gap() -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 400)
    side = np.where(np.eye(2)[labels] > 0, 0.8, 0.2)
    flipped = side.copy()
    flipped[:4] = flipped[:4][:, ::-1]  # two each way would be none; four wrong are a gap of 0.01
    harm = confidence_gap(side, flipped, labels, 0.03)
    total = 400 + (harm.more_samples(0.05) or 0)
    gap = np.zeros(400)
    gap[:4] = 1.0
    passed = 0
    for _ in range(400):
        sample = random.choice(gap, total)
        passed += sample.std() > 0 and mean_bounds(sample, 0.9)[1] < 0.03
    assert 0.7 < passed / 400 < 0.93
