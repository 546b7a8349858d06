from __future__ import annotations

import numpy as np
import pytest
import relplot
import scipy.integrate
import scipy.optimize

from edgetl.errors import DataError
from edgetl.metrics import smooth_ece
from edgetl.metrics.smooth import _cosines, _on_grid, _smoothed_error


def answers(seed: int, n: int, *, gap: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two-class probabilities, labels, and whether each answer is right."""
    random = np.random.default_rng(seed)
    confidence = random.uniform(0.5, 1.0, n)
    right = random.random(n) < confidence - gap
    return np.stack([confidence, 1 - confidence], axis=1), (~right).astype(int), right


def by_definition(confidence: np.ndarray, right: np.ndarray) -> float:
    """The fixed point of the definition: kernels summed one by one, with their mirror images."""
    places = np.concatenate([sign * confidence + shift for sign in (1, -1) for shift in (-2, 0, 2)])
    weights = np.tile(right - confidence, 6) / len(confidence)
    grid = np.linspace(0, 1, 4001)

    def error(width: float) -> float:
        kernel = np.exp(-0.5 * np.square((grid[:, None] - places) / width))
        density = kernel @ weights / (width * np.sqrt(2 * np.pi))
        return float(scipy.integrate.trapezoid(np.abs(density), grid))

    return scipy.optimize.brentq(lambda width: error(width) - width, 1e-3, 1.0, xtol=1e-10)


@pytest.mark.parametrize(("seed", "n", "gap"), [(0, 40, 0.0), (1, 40, 0.2), (2, 120, -0.1)])
def test_it_is_the_fixed_point_of_its_definition(seed, n, gap):
    probabilities, labels, right = answers(seed, n, gap=gap)
    expected = by_definition(probabilities[:, 0], right)
    assert smooth_ece(probabilities, labels) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("gap", [-0.1, 0.0, 0.05, 0.2])
def test_it_agrees_with_relplot(gap):
    probabilities, labels, right = answers(3, 3000, gap=gap)
    confidence = probabilities[:, 0]
    found = smooth_ece(probabilities, labels)
    # relplot searches the width in steps of 1/1024 and integrates on 200 points.
    assert found == pytest.approx(relplot.smECE(confidence, right * 1.0), abs=2e-3)
    assert found > 0.005
    for width in (0.02, 0.1):
        waves = _cosines(_on_grid(confidence, right - confidence) / 3000)
        expected = relplot.smECE_sigma(confidence, right * 1.0, width)
        assert _smoothed_error(waves, width) == pytest.approx(expected, rel=0.02)


def test_it_agrees_with_relplot_on_many_classes(predict):
    probabilities, labels = predict(n=2000)
    confidence, right = relplot.multiclass_logits_to_confidences(probabilities, labels, probs=True)
    expected = relplot.smECE(confidence, right)
    assert smooth_ece(probabilities, labels) == pytest.approx(expected, abs=2e-3)


def test_a_smaller_width_shows_more():
    probabilities, _, right = answers(4, 500, gap=0.0)
    confidence = probabilities[:, 0]
    waves = _cosines(_on_grid(confidence, right - confidence) / 500)
    errors = [_smoothed_error(waves, width) for width in (0.001, 0.01, 0.1, 1.0)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 2 * errors[-1]


def test_residuals_on_the_edges_and_beside_them_keep_their_weight():
    for place in (0.0, 1.0, 0.5, 1 - 1e-17, 0.99999, 0.3333):
        waves = _cosines(_on_grid(np.array([place]), np.array([0.7])))
        for width in (0.001, 0.3):
            assert _smoothed_error(waves, width) == pytest.approx(0.7, rel=1e-9)


@pytest.mark.parametrize(
    ("confidence", "label", "expected"),
    [(0.9, 0, 0.1), (0.9, 1, 0.9), (1.0, 0, 0.0), (1.0, 1, 1.0)],
)
def test_one_image_shows_its_own_residual(confidence, label, expected):
    probabilities = [[confidence, 1 - confidence]]
    assert smooth_ece(probabilities, [label]) == pytest.approx(expected, abs=1e-9)


def test_many_calibrated_answers_show_little_and_bad_ones_their_gap():
    probabilities, labels, _ = answers(5, 200_000, gap=0.0)
    assert smooth_ece(probabilities, labels) < 0.006
    shifted, labels, _ = answers(5, 20_000, gap=0.1)
    assert smooth_ece(shifted, labels) == pytest.approx(0.1, abs=0.01)


def test_an_error_finer_than_the_grid_is_given_at_the_narrowest_width():
    sure = np.tile([[1 - 1e-6, 1e-6]], (50, 1))
    assert smooth_ece(sure, np.zeros(50, int)) == pytest.approx(1e-6, rel=1e-6)


def test_a_small_change_of_a_confidence_changes_it_little():
    # Where a bin ends, the binned error jumps; this one does not.
    at = smooth_ece([[0.8, 0.2], [0.75, 0.25]], [1, 0])
    below = smooth_ece([[0.8 - 1e-9, 0.2 + 1e-9], [0.75, 0.25]], [1, 0])
    assert at == pytest.approx(below, abs=1e-7)


def test_nan_is_refused():
    with pytest.raises(DataError, match="row 1"):
        smooth_ece([[0.5, 0.5], [np.nan, 0.5]], [0, 1])
