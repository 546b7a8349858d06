"""What every metric answers where an answer is not obvious: one image, certainty, ties."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgetl import metrics

CERTAIN = [[1.0, 0.0, 0.0]]
UNSURE = [[0.5, 0.25, 0.25]]
ALIKE = [[0.5, 0.5]] * 4
LEAST = -math.log(1e-12)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("top1", 1.0, 0.0),
        ("macro_recall", 1.0, 0.0),
        ("nll", 0.0, LEAST),
        ("brier", 0.0, 2.0),
        ("ece", 0.0, 1.0),
        ("mce", 0.0, 1.0),
        ("classwise_ece", 0.0, 2 / 3),
        ("debiased_l2", 0.0, 0.0),  # a bin of one image adds nothing
        ("smooth_ece", 0.0, 1.0),
        ("aurc", 0.0, 1.0),
    ],
)
def test_one_certain_image(name, right, wrong):
    metric = getattr(metrics, name)
    assert metric(CERTAIN, [0]) == pytest.approx(right, abs=1e-12)
    assert metric(CERTAIN, [2]) == pytest.approx(wrong, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("top1", 1.0),
        ("macro_recall", 1.0),
        ("nll", math.log(2)),
        ("brier", 0.25 + 2 * 0.0625),
        ("ece", 0.5),
        ("mce", 0.5),
        ("classwise_ece", (0.5 + 0.25 + 0.25) / 3),
        ("smooth_ece", 0.5),
        ("aurc", 0.0),
    ],
)
def test_one_unsure_image(name, expected):
    assert getattr(metrics, name)(UNSURE, [0]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("top1", 0.5),  # class 0 is the answer of all four
        ("macro_recall", 0.5),
        ("nll", math.log(2)),
        ("brier", 0.5),
        ("ece", 0.0),
        ("mce", 0.0),
        ("classwise_ece", 0.0),
        ("debiased_l2", 0.0),
        ("aurc", 0.5),
    ],
)
@pytest.mark.parametrize("labels", [[0, 0, 1, 1], [1, 0, 1, 0]])
def test_images_that_all_tie(name, expected, labels):
    assert getattr(metrics, name)(ALIKE, labels) == pytest.approx(expected, abs=1e-12)


def test_the_other_metrics_of_one_image():
    assert metrics.recall_per_class(CERTAIN, [0]).tolist()[0] == 1.0
    assert np.isnan(metrics.recall_per_class(CERTAIN, [0])[1:]).all()
    assert metrics.topk(CERTAIN, [2], 2) == 0.0 and metrics.topk(CERTAIN, [2], 3) == 1.0
    assert metrics.entropy(CERTAIN).tolist() == [0.0]
    assert metrics.ece_if_calibrated(CERTAIN) == 0.0
    assert metrics.paired_counts(CERTAIN, UNSURE, [0]) == (1, 0, 0, 0)
    assert metrics.negative_flips(CERTAIN, UNSURE, [1]) == 0
    assert metrics.flips(CERTAIN, UNSURE) == 0
    assert metrics.tv(CERTAIN, UNSURE) == 0.5
    assert metrics.kl(CERTAIN, UNSURE) == pytest.approx(math.log(2))


def test_probabilities_of_zero_are_finite_everywhere():
    other = [[0.0, 0.0, 1.0]]
    assert metrics.kl(CERTAIN, other) == pytest.approx(LEAST)
    assert metrics.js(CERTAIN, other) == pytest.approx(math.log(2))
    assert metrics.tv(CERTAIN, other) == 1.0
    assert metrics.topk_overlap(CERTAIN, other, 1) == 0.0
    assert metrics.topk_overlap(CERTAIN, other, 2) == 0.5  # the tie for second goes to class 0
    assert metrics.topk_overlap(CERTAIN, [[0.0, 1.0, 0.0]], 2) == 1.0


@pytest.mark.parametrize("name", ["nll", "brier", "ece", "mce", "aurc", "smooth_ece", "top1"])
def test_a_class_that_no_image_has_and_nobody_answers_changes_nothing(predict, name):
    probabilities, labels = predict(n=200)
    more = np.concatenate([probabilities, np.zeros((200, 1))], axis=1)
    metric = getattr(metrics, name)
    assert metric(more, labels) == pytest.approx(metric(probabilities, labels), rel=1e-12)
    assert metrics.macro_recall(more, labels) == metrics.macro_recall(probabilities, labels)


def test_an_empty_class_adds_its_share_to_the_classwise_error(predict):
    probabilities, labels = predict(n=200)
    more = np.concatenate([probabilities, np.zeros((200, 1))], axis=1)
    expected = metrics.classwise_ece(probabilities, labels) * 7 / 8
    assert metrics.classwise_ece(more, labels) == pytest.approx(expected, rel=1e-12)
