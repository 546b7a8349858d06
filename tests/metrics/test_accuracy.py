from __future__ import annotations

import pytest
from sklearn.metrics import accuracy_score

from edgetl.errors import DataError
from edgetl.metrics import correct, top1


def test_top1_agrees_with_scikit_learn(predict):
    probabilities, labels = predict()
    expected = accuracy_score(labels, probabilities.argmax(axis=1))
    assert top1(probabilities, labels) == pytest.approx(expected, abs=1e-15)
    assert 0.3 < expected < 0.95


def test_a_tie_goes_to_the_lowest_index():
    assert correct([[0.4, 0.4, 0.2]] * 2, [0, 1]).tolist() == [True, False]


def test_nan_is_an_error_and_not_a_wrong_answer():
    with pytest.raises(DataError):
        top1([[float("nan"), 0.5]], [1])
