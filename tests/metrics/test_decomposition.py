from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from edgetl.errors import DataError
from edgetl.metrics import brier, brier_decomposition, softmax


def of_the_class(stated: np.ndarray, hits: np.ndarray) -> float:
    return brier_score_loss(hits, stated)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 60),
    st.integers(2, 6),
    st.integers(1, 20),
    st.sampled_from(["width", "mass"]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_parts_sum_to_the_brier_score_whatever_the_bins(seed, n, classes, bins, scheme):
    random = np.random.default_rng(seed)
    probabilities = softmax(random.normal(0, 2, (n, classes)))
    labels = random.integers(0, classes, n)
    parts = brier_decomposition(probabilities, labels, bins, scheme)
    assert parts.brier == pytest.approx(brier(probabilities, labels), abs=1e-14)
    assert min(parts.reliability, parts.resolution, parts.uncertainty) >= 0
    assert (parts.bins, parts.scheme) == (bins, scheme)


def test_parts_agree_with_scores_of_recalibrated_forecasts():
    """Uncertainty is the score of the overall share, and stating what came true bin by bin leaves
    uncertainty - resolution; each score is scikit-learn's."""
    random = np.random.default_rng(1)
    stated = random.choice([0.1, 0.3, 0.7, 0.95], 500)
    hits = random.random(500) < 0.2 + 0.6 * stated
    probabilities = np.stack([stated, 1 - stated], axis=1)
    parts = brier_decomposition(probabilities, 1 - hits.astype(int))
    came_true = np.zeros(500)
    for value in np.unique(stated):
        came_true[stated == value] = hits[stated == value].mean()
    overall = np.full(500, hits.mean())
    # Two classes: each part counts twice.
    assert parts.uncertainty == pytest.approx(2 * of_the_class(overall, hits), rel=1e-12)
    left = parts.uncertainty - parts.resolution
    assert left == pytest.approx(2 * of_the_class(came_true, hits), rel=1e-12)
    lost = 2 * (of_the_class(stated, hits) - of_the_class(came_true, hits))
    assert parts.reliability == pytest.approx(lost, rel=1e-12)
    # Murphy's own identity, where a bin holds one probability.
    assert parts.within_bins == pytest.approx(0.0, abs=1e-13)
    assert parts.reliability > 0.01 and parts.resolution > 0.01


def test_a_sharp_and_honest_classifier_is_all_resolution():
    parts = brier_decomposition(np.eye(3)[[0, 1, 2, 2]], [0, 1, 2, 2])
    assert parts.reliability == parts.within_bins == 0.0
    assert parts.resolution == pytest.approx(parts.uncertainty) == pytest.approx(0.625)


def test_a_class_without_an_image_is_reliability_alone():
    two = brier_decomposition([[0.8, 0.2], [0.4, 0.6]], [0, 1])
    three = brier_decomposition([[0.8, 0.2, 0.0], [0.4, 0.6, 0.0]], [0, 1])
    assert (two.uncertainty, two.resolution) == (three.uncertainty, three.resolution)
    given_away = brier_decomposition([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]], [0, 1])
    assert given_away.uncertainty == two.uncertainty
    assert given_away.reliability > two.reliability


def test_more_bins_than_images_and_one_image():
    parts = brier_decomposition([[0.75, 0.25]], [0], bins=1000, scheme="mass")
    assert (parts.resolution, parts.uncertainty, parts.within_bins) == (0.0, 0.0, 0.0)
    assert parts.reliability == 0.125


def test_what_cannot_be_decomposed_is_refused(predict):
    probabilities, labels = predict(n=10)
    with pytest.raises(DataError, match="bins"):
        brier_decomposition(probabilities, labels, bins=0)
    with pytest.raises(DataError, match="scheme"):
        brier_decomposition(probabilities, labels, scheme="quantile")
    probabilities[3, 2] = np.nan
    with pytest.raises(DataError, match="row 3"):
        brier_decomposition(probabilities, labels)
