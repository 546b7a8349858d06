from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from edgetl.errors import GateError
from edgetl.gate import Predictions

LOGITS = np.random.default_rng(0).normal(0, 3, (12, 4)).astype(np.float32)
GOOD = softmax(LOGITS, axis=1)


def test_logits_become_probabilities():
    answers = Predictions(logits=LOGITS)
    assert answers.probabilities == pytest.approx(softmax(LOGITS.astype(float), axis=1))
    assert answers.probabilities.dtype == np.float64


def test_exactly_one_of_probabilities_and_logits():
    for arguments in ({}, {"probabilities": GOOD, "logits": LOGITS}):
        with pytest.raises(GateError, match="exactly one"):
            Predictions(**arguments)


@pytest.mark.parametrize("given", ["probabilities", "logits"])
def test_a_file_gives_back_what_was_saved(tmp_path: Path, given: str):
    answers = Predictions(
        labels=np.arange(12) % 4,
        ids=[f"{i:x}" for i in range(12)],
        classes=["ä", "b", "c", "d"],
        slices={"light": np.array(["day", "night"] * 6), "age": np.arange(12)},
        **{given: GOOD if given == "probabilities" else LOGITS},
    )
    answers.save(tmp_path / "a.npz")
    back = Predictions.load(tmp_path / "a.npz")
    assert np.array_equal(back.probabilities, answers.probabilities)
    assert (back.logits is None) == (given == "probabilities")
    assert np.array_equal(back.labels, answers.labels)
    assert (back.ids, back.classes) == (answers.ids, answers.classes)
    assert back.slices["light"].tolist() == ["day", "night"] * 6
    assert back.slices["age"].tolist() == list(range(12))
    assert back.data_hash() == answers.data_hash()


def test_equal_predictions_give_equal_bytes(tmp_path: Path):
    for name in ("a.npz", "b.npz"):
        Predictions(probabilities=GOOD, ids=list("abcdefghijkl")).save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_file_of_plain_numpy_is_read(tmp_path: Path):
    np.savez_compressed(tmp_path / "a.npz", logits=LOGITS, labels=np.zeros(12, np.int32), extra=[1])
    assert Predictions.load(tmp_path / "a.npz").n == 12


def _row(*values: float) -> np.ndarray:
    return np.array([*GOOD[:3].tolist(), list(values)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probabilities": _row(np.nan, 0, 0, 1)}, "NaN"),
        ({"logits": _row(np.inf, 0, 0, 1)}, "NaN or infinity"),
        ({"probabilities": _row(1.5, -0.5, 0, 0)}, "0 to 1"),
        ({"probabilities": _row(0.3, 0.3, 0.3, 0.3)}, "sum to 1"),
        ({"probabilities": GOOD[0]}, "float64|float32"),
        ({"probabilities": GOOD[:, :1] * 0 + 1}, "at least"),
        ({"probabilities": np.empty((0, 4))}, "at least"),
        ({"probabilities": [[0.5, 0.5], [1.0]]}, "rectangular"),
        ({"probabilities": np.array([["a", "b"]])}, "expected float"),
        ({"probabilities": GOOD, "labels": np.arange(12)}, "classes 0..3"),
        ({"probabilities": GOOD, "labels": -np.ones(12, int)}, "classes 0..3"),
        ({"probabilities": GOOD, "labels": np.zeros(12)}, "integers"),
        ({"probabilities": GOOD, "labels": np.zeros(11, int)}, "shape"),
        ({"probabilities": GOOD, "ids": ["a"]}, "ids"),
        ({"probabilities": GOOD, "ids": list(range(12))}, "ids"),
        ({"probabilities": GOOD, "classes": ["a", "b", "c"]}, "classes"),
        ({"probabilities": GOOD, "classes": ["a", "b", "c", "a"]}, "twice"),
        ({"probabilities": GOOD, "slices": {"x": [1, 2]}}, "slice 'x'"),
    ],
)
def test_what_is_no_prediction_is_refused(arguments, message):
    with pytest.raises(GateError, match=message):
        Predictions(**arguments)


def test_the_data_hash_depends_on_ids_and_labels():
    variants = [
        Predictions(probabilities=GOOD),
        Predictions(probabilities=GOOD, labels=np.zeros(12, int)),
        Predictions(probabilities=GOOD, labels=np.ones(12, int)),
        Predictions(probabilities=GOOD, ids=list("abcdefghijkl")),
    ]
    assert len({answers.data_hash() for answers in variants}) == 4
    again = Predictions(probabilities=GOOD[::-1], labels=np.ones(12, int))
    assert again.data_hash() == variants[2].data_hash()


def test_a_path_may_be_a_text(tmp_path):
    answers = Predictions(labels=[0, 1], probabilities=[[0.75, 0.25], [0.5, 0.5]])
    answers.save(f"{tmp_path}/answers.npz")
    assert Predictions.load(f"{tmp_path}/answers.npz").data_hash() == answers.data_hash()
