from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    recall_score,
    top_k_accuracy_score,
)

from edgetl.errors import DataError
from edgetl.metrics import correct, macro_recall, recall_per_class, top1, topk

ALL = range(7)


def test_top1_agrees_with_scikit_learn(predict):
    probabilities, labels = predict()
    expected = accuracy_score(labels, probabilities.argmax(axis=1))
    assert top1(probabilities, labels) == pytest.approx(expected, abs=1e-15)
    assert 0.3 < expected < 0.95


@pytest.mark.parametrize("k", ALL[1:])
def test_topk_agrees_with_scikit_learn(predict, k):
    probabilities, labels = predict()
    expected = top_k_accuracy_score(labels, probabilities, k=k, labels=ALL)
    assert topk(probabilities, labels, k) == pytest.approx(expected, abs=1e-15)


def test_topk_begins_at_top1_and_ends_at_one(predict):
    probabilities, labels = predict()
    coarse = np.round(probabilities * 4) + 1e-3
    coarse /= coarse.sum(axis=1, keepdims=True)
    shares = [topk(coarse, labels, k) for k in range(1, 8)]
    assert shares[0] == top1(coarse, labels)
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_a_tie_goes_to_the_lowest_index():
    assert correct([[0.4, 0.4, 0.2]] * 2, [0, 1]).tolist() == [True, False]
    uniform = [[0.25] * 4] * 4
    assert [topk(uniform, [0, 1, 2, 3], k) for k in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("k", [0, 8, -1, 2.0, "2", None, float("nan")])
def test_a_k_that_is_no_number_of_classes_is_refused(predict, k):
    with pytest.raises(DataError, match=r"k: .*at least 1 and at most 7"):
        topk(*predict(n=10), k)


def test_recall_agrees_with_scikit_learn(predict):
    probabilities, labels = predict()
    answers = probabilities.argmax(axis=1)
    np.testing.assert_allclose(
        recall_per_class(probabilities, labels),
        recall_score(labels, answers, average=None),
        rtol=1e-15,
    )
    expected = balanced_accuracy_score(labels, answers)
    assert macro_recall(probabilities, labels) == pytest.approx(expected, rel=1e-14)
    assert macro_recall(probabilities, labels) != pytest.approx(top1(probabilities, labels))


def test_a_class_without_an_image_has_no_recall_and_is_left_out_of_the_mean(predict):
    probabilities, labels = predict()
    keep = labels != 3
    recall = recall_per_class(probabilities[keep], labels[keep])
    assert np.flatnonzero(np.isnan(recall)).tolist() == [3]
    others = recall_per_class(probabilities, labels)
    np.testing.assert_array_equal(np.delete(recall, 3), np.delete(others, 3))
    mean = np.delete(others, 3).mean()
    assert macro_recall(probabilities[keep], labels[keep]) == pytest.approx(mean, rel=1e-15)


def test_a_class_that_is_never_answered_has_recall_zero():
    assert recall_per_class([[0.9, 0.1]] * 2, [0, 1]).tolist() == [1.0, 0.0]
    assert macro_recall([[0.9, 0.1]] * 2, [0, 1]) == 0.5


def test_nan_is_an_error_and_not_a_wrong_answer():
    with pytest.raises(DataError):
        top1([[float("nan"), 0.5]], [1])
