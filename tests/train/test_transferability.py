from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from edgetl.errors import DataError
from edgetl.train.solve_head import solve_head
from edgetl.train.transferability import logme, probe_head, transferability


def made(
    n: int = 40, d: int = 6, classes: int = 3, apart: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    features = rng.normal(size=(n, d)) + apart * rng.normal(size=(classes, d))[labels]
    return features.astype(np.float32), labels


def direct(features: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """The evidence as the density of the labels, maximised by scipy over both precisions."""
    exact = features.astype(np.float64)
    n = len(exact)

    def evidence(label: int) -> float:
        target = (labels == label).astype(np.float64)

        def negative(logs: np.ndarray) -> float:
            alpha, beta = np.exp(logs)
            covariance = np.eye(n) / beta + exact @ exact.T / alpha
            return -float(multivariate_normal.logpdf(target, np.zeros(n), covariance))

        starts = [(0.0, 0.0), (3.0, 2.0), (6.0, 1.0)]
        found = [minimize(negative, start, method="Nelder-Mead") for start in starts]
        return -min(float(one.fun) for one in found)

    return float(np.mean([evidence(label) for label in range(classes)])) / n


@pytest.mark.parametrize(("n", "d"), [(40, 6), (24, 40)])
def test_logme_is_the_maximum_of_the_evidence(n: int, d: int) -> None:
    features, labels = made(n, d)
    found = logme(features, labels, 3)
    assert found == pytest.approx(direct(features, labels, 3), abs=2e-5)


def test_logme_prefers_features_that_tell_the_classes_apart() -> None:
    scores = [logme(*made(apart=apart), 3) for apart in (0.0, 0.5, 2.0)]
    assert scores == sorted(scores) and scores[-1] > scores[0] + 0.1


def test_logme_does_not_depend_on_the_scale_or_the_direction_of_features() -> None:
    features, labels = made()
    turned, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))
    same = logme((37 * features @ turned).astype(np.float32), labels, 3)
    assert same == pytest.approx(logme(features, labels, 3), abs=1e-5)


def test_features_without_variance_have_the_evidence_of_noise_alone() -> None:
    labels = np.arange(20) % 2
    found = logme(np.zeros((20, 3), np.float32), labels, 2)
    # Half of the labels are 1: the best variance around 0 is a half.
    assert found == pytest.approx(-0.5 * (np.log(2 * np.pi * 0.5) + 1))


def test_the_probe_is_scored_on_what_its_folds_left_out() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    # More dimensions than images, and nothing to learn: a head fits them all, and knows nothing.
    features = rng.normal(size=(60, 100)).astype(np.float32)
    found = transferability(features, labels, ("a", "b", "c"))
    assert found.probe_top1 < 0.6 and found.probe_nll > 0.9
    assert (found.images, found.dimensions) == (60, 100)
    weight, bias = probe_head(features, labels, ("a", "b", "c"), weight_decay=1e-3)
    assert ((features @ weight.T + bias).argmax(axis=1) == labels).all()


def test_a_factor_of_the_features_changes_no_answer_of_the_probe() -> None:
    features, labels = made()
    names = ("a", "b", "c")
    answers = []
    for factor in (1.0, 1000.0):
        scaled = (factor * features).astype(np.float32)
        weight, bias = probe_head(scaled, labels, names, weight_decay=1e-2)
        answers.append(scaled @ weight.T + bias)
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-3)


def test_more_dimensions_than_images_give_the_head_of_all_of_them() -> None:
    features, labels = made(n=30, d=80)
    names, scale = ("a", "b", "c"), np.sqrt(features.var(axis=0, dtype=np.float64).mean())
    weight, bias = probe_head(features, labels, names, weight_decay=1e-2)
    whole, offset = solve_head(features / scale, labels, names, weight_decay=1e-2)
    fresh, _ = made(n=30, d=80, seed=1)
    expected = fresh @ (whole / scale).T + offset
    np.testing.assert_allclose(fresh @ weight.T + bias, expected, atol=1e-2)


@pytest.mark.parametrize(
    ("features", "labels", "said"),
    [
        (np.full((4, 2), np.nan, np.float32), np.array([0, 0, 1, 1]), "NaN or infinity"),
        (np.ones((4, 2), np.float32), np.array([0, 0, 0, 0]), "rarest, 1, has 0"),
        (np.ones((4, 2), np.float32), np.array([0, 0, 0, 1]), "rarest, 1, has 1"),
        (np.ones((3, 2), np.float32), np.array([0, 0, 1, 1]), r"shape \(3, 2\) for 4"),
    ],
)
def test_features_that_tell_nothing_are_refused(
    features: np.ndarray, labels: np.ndarray, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        logme(features, labels, 2)
