from __future__ import annotations

import numpy as np
import pytest

from edgetl.errors import DataError
from edgetl.metrics.checks import as_labels, as_logits, as_pair, as_probabilities

GOOD = np.array([[0.2, 0.8], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[0.2, np.nan], [0.5, 0.5]]), "NaN or infinity in row 0"),
        (np.array([[0.5, 0.5], [np.inf, 0.0]]), "NaN or infinity in row 1"),
        (np.array([[2.0, -1.0], [0.5, 0.5]]), "from -1 to 2"),
        (np.array([[0.5, 0.5], [0.2, 0.7]]), "row 1 with the sum 0.9"),
        (np.array([0.2, 0.8]), "[2]"),
        (np.zeros((0, 3)), "[0, 3]"),
        (np.ones((3, 1)), "[3, 1]"),
        (np.array([[0, 1]]), "int64"),
        (np.array([["a", "b"]]), "<U1"),
    ],
)
def test_probabilities_that_are_not_are_refused(values, words):
    with pytest.raises(DataError) as caught:
        as_probabilities(values, "the candidate")
    assert words in caught.value.got
    assert caught.value.subject == "the candidate"


def test_rounding_of_a_runtime_is_accepted_and_clipped():
    values = np.array([[1.0000001, -1e-7], [0.0, 1.0]])
    assert as_probabilities(values).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    with pytest.raises(DataError):
        as_probabilities(np.array([[1.00001, -0.00001]]))


def test_float16_rows_pass_and_come_back_as_float64():
    random = np.random.default_rng(0)
    powers = np.exp(random.normal(size=(500, 100)))
    half = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float16)
    checked = as_probabilities(half)
    assert checked.dtype == np.float64
    np.testing.assert_array_equal(checked, half.astype(np.float64))


def test_the_callers_array_is_left_as_it_is():
    before = GOOD.copy()
    checked = as_probabilities(GOOD)
    checked[:] = 0.0
    np.testing.assert_array_equal(GOOD, before)


@pytest.mark.parametrize(
    "labels", [[0, 2], [-1, 0], [0.0, 1.0], [0], [[0, 1]], [True, False], ["0", "1"]]
)
def test_labels_that_do_not_fit_are_refused(labels):
    with pytest.raises(DataError, match="labels"):
        as_pair(GOOD, labels)


def test_labels_of_any_integer_type_are_accepted():
    assert as_labels(np.array([0, 1], np.uint8), n=2, classes=2).dtype == np.int64


def test_logits_may_be_any_finite_number():
    assert as_logits([[1e30, -5.0]]).tolist() == [[1e30, -5.0]]
    with pytest.raises(DataError, match="NaN"):
        as_logits([[1.0, -np.inf]])
