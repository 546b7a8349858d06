from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)
from torchmetrics.functional.classification.calibration_error import _ce_compute

from edgetl.errors import DataError
from edgetl.metrics import classwise_ece, debiased_l2, ece, ece_if_calibrated, mce


def two_classes(confidence: list[float]) -> np.ndarray:
    top = np.asarray(confidence, np.float64)
    return np.stack([top, 1 - top], axis=1)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_ece_and_mce_agree_with_torchmetrics(predict, bins):
    probabilities, labels = predict()
    assert probabilities.max() < 1.0

    def oracle(norm: str) -> float:
        return float(
            multiclass_calibration_error(
                torch.tensor(probabilities), torch.tensor(labels), 7, n_bins=bins, norm=norm
            )
        )

    assert ece(probabilities, labels, bins) == pytest.approx(oracle("l1"), abs=1e-6)
    assert mce(probabilities, labels, bins) == pytest.approx(oracle("max"), abs=1e-6)
    assert ece(probabilities, labels, bins) > 0.005


def test_classwise_ece_agrees_with_torchmetrics(predict):
    probabilities, labels = predict()
    expected = [
        float(
            binary_calibration_error(
                torch.tensor(probabilities[:, k]), torch.tensor((labels == k) * 1), n_bins=15
            )
        )
        for k in range(7)
    ]
    assert classwise_ece(probabilities, labels) == pytest.approx(np.mean(expected), abs=1e-6)


def test_debiased_l2_agrees_with_torchmetrics(predict):
    probabilities, labels = predict(n=3000)
    confidence = torch.tensor(probabilities.max(axis=1))
    right = torch.tensor((probabilities.argmax(axis=1) == labels) * 1.0, dtype=torch.float64)
    edges = torch.linspace(0, 1, 6, dtype=torch.float64)
    expected = float(_ce_compute(confidence, right, edges, norm="l2", debias=True))
    assert debiased_l2(probabilities, labels, 5, "width") == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("scheme", "strategy"), [("width", "uniform"), ("mass", "quantile")])
def test_bins_agree_with_scikit_learn(predict, scheme, strategy):
    probabilities, labels = predict(n=600)
    right = probabilities.argmax(axis=1) == labels
    true, predicted = calibration_curve(
        right, probabilities.max(axis=1), n_bins=15, strategy=strategy
    )
    gaps = np.abs(true - predicted)
    assert mce(probabilities, labels, scheme=scheme) == pytest.approx(gaps.max(), abs=1e-12)
    if scheme == "mass":
        assert ece(probabilities, labels, scheme="mass") == pytest.approx(gaps.mean(), abs=1e-12)


def test_a_confidence_on_an_edge_belongs_to_the_bin_above():
    # 0.8 opens [0.8, 0.9): alone there, it does not mix with 0.75.
    probabilities = two_classes([0.75, 0.8])
    assert ece(probabilities, [0, 1], bins=10) == pytest.approx((0.25 + 0.8) / 2)
    # With five bins both are in different bins too; with two they share one.
    assert ece(probabilities, [0, 1], bins=2) == pytest.approx(abs(1 - 1.55) / 2)


def test_confidence_one_is_in_the_last_bin():
    # torchmetrics 1.9 gives 1.0 a bin of its own beyond the last edge and answers 0.515.
    probabilities = two_classes([1.0, 0.97])
    assert ece(probabilities, [1, 0]) == pytest.approx(abs(1 - 1.97) / 2)
    assert mce(probabilities, [1, 0]) == pytest.approx(abs(1 - 1.97) / 2)


def test_equal_mass_bins_keep_equal_confidences_together():
    probabilities = two_classes([0.6] * 6 + [0.9] * 2)
    labels = [0, 0, 0, 1, 1, 1, 0, 0]
    assert ece(probabilities, labels, bins=4, scheme="mass") == pytest.approx(
        (6 * 0.1 + 2 * 0.1) / 8
    )


def test_more_bins_than_images():
    probabilities = two_classes([0.6, 0.7, 0.9])
    expected = (0.4 + 0.7 + 0.1) / 3
    assert ece(probabilities, [0, 1, 0], bins=50) == pytest.approx(expected)
    assert ece(probabilities, [0, 1, 0], bins=50, scheme="mass") == pytest.approx(expected)


def test_the_error_of_a_calibrated_model_is_bias_and_the_debiased_one_is_not():
    random = np.random.default_rng(4)
    plain, debiased = [], []
    for _ in range(30):
        confidence = random.uniform(0.5, 1.0, 2000)
        labels = (random.random(2000) >= confidence) * 1
        probabilities = two_classes(confidence)
        plain.append(ece(probabilities, labels))
        debiased.append(debiased_l2(probabilities, labels))
    assert np.mean(plain) > 0.01
    assert np.mean(debiased) < np.mean(plain)
    assert np.median(debiased) < 0.008
    # What a calibrated model shows is foretold from the confidences alone.
    assert ece_if_calibrated(probabilities) == pytest.approx(np.mean(plain), abs=0.003)


def test_a_gate_on_a_difference_of_ece_would_pass_what_lies_on_its_margin():
    """Simulated: why ECE is reported and never gated on. The candidate claims 0.02 too much."""
    margin, n, runs, resamples = 0.02, 1000, 40, 60
    random = np.random.default_rng(6)
    passes = 0
    for _ in range(runs):
        honest = 0.5 + 0.48 * random.beta(4, 1, n)
        labels = (random.random(n) >= honest) * 1
        reference, candidate = two_classes(honest), two_classes(honest + margin)
        harms = []
        for _ in range(resamples):
            pick = random.integers(0, n, n)
            harms.append(ece(candidate[pick], labels[pick]) - ece(reference[pick], labels[pick]))
        passes += np.quantile(harms, 0.95) < margin
    assert passes / runs > 0.3


def test_debiased_l2_finds_the_true_error():
    random = np.random.default_rng(5)
    confidence = random.uniform(0.6, 0.95, 20_000)
    labels = (random.random(20_000) >= confidence - 0.1) * 1
    assert debiased_l2(two_classes(confidence), labels) == pytest.approx(0.1, abs=0.01)


def test_a_bin_of_one_image_adds_nothing_to_the_debiased_error():
    assert debiased_l2(two_classes([0.6, 0.9]), [1, 1], bins=2) == 0.0


@pytest.mark.parametrize("bins", [0, -3])
def test_no_bins_are_refused(predict, bins):
    for metric in (ece, mce, classwise_ece, debiased_l2):
        with pytest.raises(DataError, match="bins"):
            metric(*predict(n=10), bins=bins)


def test_an_unknown_scheme_is_refused(predict):
    with pytest.raises(DataError, match="scheme"):
        ece(*predict(n=10), scheme="quantile")


def test_no_draws_are_refused(predict):
    with pytest.raises(DataError, match="draws"):
        ece_if_calibrated(predict(n=10)[0], draws=0)


def test_ece_if_calibrated_is_the_same_for_the_same_seed(predict):
    probabilities, _ = predict(n=100)
    first = ece_if_calibrated(probabilities, draws=5, seed=3)
    assert first == ece_if_calibrated(probabilities, draws=5, seed=3)
    assert first != ece_if_calibrated(probabilities, draws=5, seed=4)


@pytest.mark.parametrize("scheme", ["width", "mass"])
@pytest.mark.parametrize("spread", [0.4, 0.002])
def test_ece_if_calibrated_is_what_simulating_image_by_image_gives(scheme, spread):
    random = np.random.default_rng(7)
    confidence = 1 - spread * random.random(3000)
    errors = []
    for _ in range(400):
        labels = (random.random(3000) >= confidence) * 1
        errors.append(ece(two_classes(confidence), labels, scheme=scheme))
    found = ece_if_calibrated(two_classes(confidence), scheme=scheme, draws=2000)
    assert found == pytest.approx(np.mean(errors), abs=5 * np.std(errors) / 20)
