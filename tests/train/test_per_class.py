"""Figures of each class against scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import precision_recall_fscore_support

from edgetl.errors import DataError
from edgetl.train.per_class import per_class


def test_they_are_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(200, 4)).astype(np.float32)
    labels = generator.integers(0, 4, 200)
    precision, recall, _, images = precision_recall_fscore_support(labels, logits.argmax(axis=1))
    got = per_class(logits, labels, tuple("abcd"))
    assert [row["name"] for row in got] == list("abcd")
    assert [row["images"] for row in got] == images.tolist()
    assert [row["precision"] for row in got] == pytest.approx(precision)
    assert [row["recall"] for row in got] == pytest.approx(recall)
    surety = softmax(logits.astype(np.float64), axis=1).max(axis=1)
    assert [row["confidence"] for row in got] == pytest.approx(
        [surety[labels == k].mean() for k in range(4)]
    )


def test_what_is_not_known_is_none_and_not_a_number() -> None:
    logits = np.array([[1.0, 0.0, 0.0], [3.0, 0.0, 0.0]], np.float32)
    got = json.loads(json.dumps(per_class(logits, np.array([0, 1]), tuple("abc")), allow_nan=False))
    assert got[1]["precision"] is None and got[1]["recall"] == 0.0
    assert got[2] == {
        "name": "c",
        "images": 0,
        "recall": None,
        "precision": None,
        "confidence": None,
    }


def test_logits_that_are_not_finite_are_refused() -> None:
    logits = np.array([[np.nan, 0.0]], np.float32)
    with pytest.raises(DataError, match="NaN"):
        per_class(logits, np.array([0]), ("a", "b"))
