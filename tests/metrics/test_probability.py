from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
from sklearn.metrics import brier_score_loss, log_loss

from edgetl import metrics
from edgetl.errors import DataError


def test_softmax_of_the_published_example():
    expected = [0.7054, 0.2595, 0.0351]
    np.testing.assert_allclose(metrics.softmax([[2.0, 1.0, -1.0]])[0], expected, atol=5e-5)


def test_softmax_agrees_with_scipy_and_does_not_overflow():
    logits = np.random.default_rng(0).normal(0, 300, (50, 9))
    np.testing.assert_allclose(
        metrics.softmax(logits), scipy.special.softmax(logits, axis=1), rtol=1e-12
    )
    assert metrics.softmax([[1e308, -1e308]]).tolist() == [[1.0, 0.0]]


def test_nll_agrees_with_scikit_learn(predict):
    probabilities, labels = predict()
    expected = log_loss(labels, probabilities, labels=range(7))
    assert metrics.nll(probabilities, labels) == pytest.approx(expected, rel=1e-12)


def test_nll_of_an_impossible_label_is_finite():
    value = metrics.per_image_nll([[1.0, 0.0], [0.5, 0.5]], [1, 0])
    np.testing.assert_allclose(value, [-math.log(1e-12), math.log(2)])


def test_nll_of_certainty_is_zero_without_a_sign():
    assert math.copysign(1.0, metrics.nll([[1.0, 0.0]], [0])) == 1.0


def test_brier_agrees_with_scikit_learn(predict):
    probabilities, labels = predict()
    expected = brier_score_loss(labels, probabilities, labels=range(7), scale_by_half=False)
    assert metrics.brier(probabilities, labels) == pytest.approx(expected, rel=1e-12)


def test_means_are_the_means_of_the_per_image_scores(predict):
    probabilities, labels = predict()
    assert metrics.nll(probabilities, labels) == metrics.per_image_nll(probabilities, labels).mean()
    assert (
        metrics.brier(probabilities, labels)
        == metrics.per_image_brier(probabilities, labels).mean()
    )


def test_proper_scores_are_best_at_the_truth():
    truth = np.array([0.6, 0.3, 0.1])
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    for score in (metrics.nll, metrics.brier):
        honest = score(np.tile(truth, (1000, 1)), labels)
        for other in ([0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [1 / 3, 1 / 3, 1 / 3]):
            assert score(np.tile(other, (1000, 1)), labels) > honest


def test_entropy_agrees_with_scipy(predict):
    probabilities, _ = predict()
    np.testing.assert_allclose(
        metrics.entropy(probabilities), scipy.stats.entropy(probabilities, axis=1), rtol=1e-12
    )
    assert metrics.entropy([[1.0, 0.0]]).tolist() == [0.0]
    assert metrics.entropy([[0.25] * 4])[0] == pytest.approx(math.log(4))


def test_aurc_is_the_mean_error_rate_of_the_most_confident(predict):
    probabilities, labels = predict(n=80)
    order = np.argsort(-probabilities.max(axis=1))
    wrong = (probabilities.argmax(axis=1) != labels)[order]
    expected = np.mean([wrong[: i + 1].mean() for i in range(80)])
    assert metrics.aurc(probabilities, labels) == pytest.approx(expected, rel=1e-12)


def test_aurc_of_ties_is_the_mean_over_all_orders():
    confidence = np.array([0.9, 0.8, 0.8, 0.8, 0.7])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    labels = np.array([0, 0, 1, 1, 0])
    areas = []
    for middle in itertools.permutations([1, 2, 3]):
        wrong = labels[[0, *middle, 4]]
        areas.append(np.mean([wrong[: i + 1].mean() for i in range(5)]))
    assert metrics.aurc(probabilities, labels) == pytest.approx(np.mean(areas), rel=1e-12)


@pytest.mark.parametrize(
    "name", ["top1", "nll", "brier", "ece", "mce", "classwise_ece", "debiased_l2", "aurc"]
)
def test_no_metric_depends_on_the_order_of_the_images(predict, name):
    probabilities, labels = predict(n=200)
    # Coarse probabilities have many ties, where an order could slip in.
    coarse = np.round(probabilities * 8) + 1e-3
    coarse /= coarse.sum(axis=1, keepdims=True)
    metric = getattr(metrics, name)
    order = np.random.default_rng(1).permutation(200)
    assert metric(coarse[order], labels[order]) == pytest.approx(metric(coarse, labels), abs=1e-12)


@pytest.mark.parametrize(
    "name", ["top1", "nll", "brier", "ece", "mce", "classwise_ece", "debiased_l2", "aurc"]
)
def test_every_metric_refuses_nan(predict, name):
    probabilities, labels = predict(n=20)
    probabilities[3, 2] = np.nan
    with pytest.raises(DataError, match="row 3"):
        getattr(metrics, name)(probabilities, labels)
