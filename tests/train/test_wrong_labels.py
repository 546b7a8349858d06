"""Confident learning against the paper's definition, and what it finds among wrong labels."""

from __future__ import annotations

import numpy as np
import pytest

from edgetl.errors import DataError
from edgetl.train import wrong_labels
from edgetl.train.wrong_labels import (
    FOLDS,
    confidently_other,
    look_for_wrong_labels,
    out_of_sample,
)


def clouds(
    n: int, classes: int, *, wrong: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of separate clouds, the truth, and labels of which the first few are moved."""
    generator = np.random.default_rng(seed)
    truth = np.arange(n) % classes
    features = generator.normal(size=(n, 6)) + 5 * generator.normal(size=(classes, 6))[truth]
    labels = truth.copy()
    labels[:wrong] = (truth[:wrong] + generator.integers(1, classes, wrong)) % classes
    return features.astype(np.float32), truth, labels


def test_confident_learning_is_the_papers_definition() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(4) * 0.6, 300)
    labels = generator.integers(0, 4, 300)
    thresholds = [
        np.mean([p[j] for p, y in zip(probabilities, labels, strict=True) if y == j])
        for j in range(4)
    ]
    joint = np.zeros((4, 4), int)
    named = []
    for p, label in zip(probabilities, labels, strict=True):
        likely = [j for j in range(4) if p[j] >= thresholds[j]]
        if likely:
            best = max(likely, key=lambda j: p[j])
            joint[label, best] += 1
            named.append(best != label)
        else:
            named.append(False)
    got = confidently_other(probabilities, labels)
    assert got.tolist() == named
    assert got.sum() == joint.sum() - np.trace(joint) > 0


def test_wrong_labels_among_clear_ones_are_found_and_no_others() -> None:
    features, truth, labels = clouds(300, 4, wrong=15)
    found = look_for_wrong_labels(features, labels, truth)
    assert np.flatnonzero(found.wrong).tolist() == list(range(15))
    assert (found.predicted == truth).all() and found.judged.all()
    assert found.label_probability[:15].max() < 0.2 < found.label_probability[15:].min()
    assert found.agreement == pytest.approx(1 - 15 / 300)


def test_right_labels_are_left_alone() -> None:
    features, truth, _ = clouds(300, 4, wrong=0)
    assert not look_for_wrong_labels(features, truth, truth).wrong.any()


def test_answers_that_learnt_the_wrong_labels_do_not_hide_the_surest() -> None:
    features, _, labels = clouds(300, 4, wrong=15)
    found = look_for_wrong_labels(features, labels, labels)
    # Only confident learning is left, which a moved label passes by being surer than the mean.
    assert found.wrong.any() and not found.wrong[15:].any()


def test_out_of_sample_means_that_no_image_votes_for_itself() -> None:
    # Labels of pure chance: what knows an image's own label would repeat it more often.
    generator = np.random.default_rng(0)
    labels = np.arange(200) % 2
    features = generator.normal(size=(200, 150)).astype(np.float32)
    right = (out_of_sample(features, labels).argmax(axis=1) == labels).mean()
    assert 0.35 < right < 0.65


def test_classes_of_few_images_are_not_judged() -> None:
    features, truth, labels = clouds(100, 4, wrong=4)
    rare = np.full(FOLDS - 1, 5)
    more = features[: len(rare)] + 100
    found = look_for_wrong_labels(
        np.concatenate([features, more]),
        np.concatenate([labels, rare]),
        np.concatenate([truth, rare]),
    )
    assert found.judged.tolist() == [True] * 100 + [False] * 4
    assert np.flatnonzero(found.wrong).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("labels", [[0] * 20, [0, 1] * 3, []])
def test_one_class_or_too_little_judges_nothing(labels: list[int]) -> None:
    own = np.array(labels, np.int64)
    found = look_for_wrong_labels(np.zeros((len(own), 2), np.float32), own, own)
    assert not found.judged.any() and not found.wrong.any() and np.isnan(found.agreement)


def test_the_same_features_give_the_same_evidence() -> None:
    features, truth, labels = clouds(120, 3, wrong=6)
    first, second = (look_for_wrong_labels(features, labels, truth) for _ in range(2))
    assert np.array_equal(first.label_probability, second.label_probability)


def test_features_that_say_nothing_are_borne() -> None:
    labels = np.arange(40) % 2
    found = look_for_wrong_labels(np.ones((40, 3), np.float32), labels, labels)
    assert np.isfinite(found.label_probability).all() and not found.wrong.any()


def test_what_cannot_be_judged_is_refused() -> None:
    labels = np.arange(20) % 2
    features = np.zeros((20, 3), np.float32)
    features[7, 1] = np.nan
    with pytest.raises(DataError, match="NaN"):
        look_for_wrong_labels(features, labels, labels)
    with pytest.raises(DataError, match="one answer for each image"):
        look_for_wrong_labels(np.zeros((20, 3), np.float32), labels, labels[:5])


def test_a_rare_class_among_more_images_than_are_fitted_is_judged_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its share of what is fitted would be no image, and the fit would not know the class."""
    monkeypatch.setattr(wrong_labels, "_MOST_FITTED", 60)
    features, truth, _ = clouds(600, 3, wrong=0)
    kept = np.sort(np.r_[np.flatnonzero(truth < 2), np.flatnonzero(truth == 2)[:FOLDS]])
    labels = truth[kept]

    found = look_for_wrong_labels(features[kept], labels, labels)

    assert found.judged.all() and not found.wrong.any()
    assert (found.predicted == labels).mean() > 0.98
    assert (found.predicted[labels == 2] == 2).all()
