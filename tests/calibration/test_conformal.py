from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from mapie.conformity_scores.sets import APSConformityScore, LACConformityScore
from sklearn.base import BaseEstimator, ClassifierMixin

from edgetl.calibration.conformal import (
    COVERAGES,
    METHODS,
    coverage_range,
    fit_conformal,
    label_scores,
    label_sets,
    quantile_rank,
)
from edgetl.errors import DataError, UsageError
from edgetl.metrics import softmax

ASKED = (0.6, 0.8, 0.9, 0.95)


def sample(seed: int, n: int, classes: int = 6, spread: float = 1.5):
    random = np.random.default_rng(seed)
    honest = random.normal(0.0, spread, (n, classes))
    labels = (softmax(honest).cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return softmax(honest * 1.3), np.minimum(labels, classes - 1)


class Answers(ClassifierMixin, BaseEstimator):
    """A "classifier" whose features are its probabilities."""

    def __init__(self, classes: int = 6) -> None:
        self.classes = classes
        self.classes_ = np.arange(classes)
        self.is_fitted_ = True

    def fit(self, x, y):
        return self

    def predict_proba(self, x):
        return np.asarray(x)

    def predict(self, x):
        return np.asarray(x).argmax(axis=1)


class Ones(np.random.RandomState):
    """Takes the whole of the label's own probability away, where APS would draw how much."""

    def uniform(self, low=0.0, high=1.0, size=None):
        return np.ones(size)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [60, 401])
def test_quantiles_and_sets_are_mapies(method: str, n: int):
    calib, labels = sample(0, n)
    test, _ = sample(1, 300)
    score = LACConformityScore() if method == "lac" else APSConformityScore()
    oracle = SplitConformalClassifier(
        Answers(),
        confidence_level=list(ASKED),
        prefit=True,
        conformity_score=score,
        random_state=Ones(0),
    )
    oracle.conformalize(calib, labels)
    _, sets = oracle.predict_set(test)
    fit = fit_conformal(calib, labels, coverages=ASKED)
    quantiles = fit.lac if method == "lac" else fit.aps
    np.testing.assert_allclose(quantiles, oracle._mapie_classifier.quantiles_, atol=1e-12)
    for at, quantile in enumerate(quantiles):
        np.testing.assert_array_equal(label_sets(test, quantile, method), sets[:, :, at])


@pytest.mark.parametrize("method", METHODS)
def test_the_promise_is_kept_on_average_over_calibration_sets(method: str):
    """n = 49, coverage 0.9: the rank is 45 of 50, so exactly 0.9 when no two scores tie."""
    hits = []
    for seed in range(400):
        p, labels = sample(seed, 449)
        fit = fit_conformal(p[:49], labels[:49], coverages=(0.9,))
        quantile = (fit.lac if method == "lac" else fit.aps)[0]
        inside = label_sets(p[49:], quantile, method)
        hits.append(inside[np.arange(400), labels[49:]].mean())
    error = np.std(hits) / math.sqrt(len(hits))
    assert np.mean(hits) > 0.9 - 3 * error
    if method == "lac":
        assert np.mean(hits) < 0.9 + 3 * error


@pytest.mark.parametrize("n", [1, 9, 10, 99, 100, 499, 997, 2000])
def test_the_rank_is_the_exact_one(n: int):
    for coverage in COVERAGES:
        exact = math.ceil((n + 1) * Fraction(str(coverage)))
        assert quantile_rank(n, coverage) == (exact if exact <= n else None)


@pytest.mark.parametrize(("n", "tested"), [(49, 400), (499, 60)])
def test_measured_coverage_lies_where_it_is_expected(n: int, tested: int):
    low, high = coverage_range(n, 0.9, tested)
    inside = 0
    for seed in range(600):
        p, labels = sample(seed, n + tested)
        quantile = fit_conformal(p[:n], labels[:n], coverages=(0.9,)).lac[0]
        sets = label_sets(p[n:], quantile, "lac")
        inside += low <= sets[np.arange(tested), labels[n:]].mean() <= high
    # The count is whole, so that the range holds a little more than its 95 %.
    assert 0.95 - 3 * math.sqrt(0.95 * 0.05 / 600) < inside / 600 < 0.995


def test_an_impossible_range_is_refused():
    for arguments in ((98, 0.99, 10), (99, 0.9, 0), (99, 0.9, 10, math.nan)):
        with pytest.raises(DataError):
            coverage_range(*arguments)


def test_too_few_images_promise_nothing():
    fit = fit_conformal(*sample(0, 19), coverages=(0.9, 0.95, 0.96, 0.99))
    assert [one is None for one in fit.lac] == [False, False, True, True]
    assert fit.aps[2:] == (None, None)


def test_quantiles_never_fall_and_sets_only_grow():
    fit = fit_conformal(*sample(2, 5000))
    p, _ = sample(3, 100)
    for method, quantiles in (("lac", fit.lac), ("aps", fit.aps)):
        sizes = [label_sets(p, quantile, method).sum() for quantile in quantiles]
        assert sizes == sorted(sizes)
        assert list(quantiles) == sorted(quantiles)


def test_lac_may_be_empty_and_aps_is_not():
    flat = np.full((1, 4), 0.25)
    assert not label_sets(flat, 0.5, "lac").any()
    assert label_sets(flat, 0.0, "aps").tolist() == [[True, False, False, False]]


def test_of_equal_labels_the_first_is_ahead():
    scores = label_scores(np.array([[0.25, 0.5, 0.25]]), "aps")
    assert scores.tolist() == [[0.5, 0.0, 0.75]]


def test_a_set_holds_a_calibration_image_whose_score_is_the_quantile():
    # Float32 answers: the comparison must not lose to rounding what the rank has counted.
    p, labels = sample(5, 999)
    rows = p.astype(np.float32)
    for method in METHODS:
        fit = fit_conformal(rows, labels, coverages=(0.9,))
        quantile = (fit.lac if method == "lac" else fit.aps)[0]
        inside = label_sets(rows.astype(np.float64), quantile, method)
        assert inside[np.arange(999), labels].sum() >= 900


def test_wrong_arguments_are_refused():
    p, labels = sample(0, 30)
    with pytest.raises(UsageError, match="lac or aps"):
        label_scores(p, "raps")
    with pytest.raises(DataError):
        fit_conformal(p, labels[:-1])
    p[0, 0] = math.nan
    with pytest.raises(DataError):
        fit_conformal(p, labels)
