from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.backends import registry
from edgetl.bundle import BundleContent, ConformalTable, ThresholdColumns, ThresholdTable
from edgetl.calibration.conformal import COVERAGES, fit_conformal, label_sets
from edgetl.errors import UsageError
from edgetl.runtime.classifier import Classifier, Prediction

THRESHOLDS = ThresholdTable(
    n=500,
    confidence=0.95,
    reference=(0.5, 0.9),
    acceptance=ThresholdColumns(threshold=(0.4, 0.8), low=(0.3, 0.7), high=(0.5, 0.9)),
    precision=ThresholdColumns(threshold=(0.6, 0.99), low=(0.3, 0.7), high=(0.9, 1.0)),
)
CONFORMAL = ConformalTable(n=99, coverage=(0.8, 0.9), lac=(0.5, 0.75), aps=(0.0, 0.625))


@pytest.fixture
def told(content: BundleContent, write: Any) -> Path:
    """A bundle whose first variant has both tables, and whose second has none."""
    first, second = content.variants
    told = dataclasses.replace(first, thresholds=THRESHOLDS, conformal=CONFORMAL)
    return write(variants=(told, second))


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets every model answer these rows."""

    def answer(*rows: list[float]) -> None:
        real = registry.load

        def load(variant: Any, files: Any, **options: Any) -> Any:
            backend = real(variant, files, **options)
            monkeypatch.setattr(
                type(backend), "run", lambda self, inputs: {"probabilities": np.float32(rows)}
            )
            return backend

        monkeypatch.setattr(registry, "load", load)

    return answer


def test_a_threshold_of_the_reference_is_acted_on(
    told: Path, pictures: np.ndarray, answering: Any
) -> None:
    answering([0.1, 0.75, 0.15, 0.0], [0.1, 0.55, 0.35, 0.0])
    with Classifier.load(told, variant="ort-fp32", threads=1) as classifier:
        plain = classifier.predict(list(pictures[:2]))
        assert [(one.threshold, one.accepted) for one in plain] == [(None, None)] * 2
        kept = classifier.predict(list(pictures[:2]), threshold_of_reference=0.7)
        assert [one.threshold for one in kept] == [pytest.approx(0.6)] * 2
        assert [one.accepted for one in kept] == [True, False]
        precise = classifier.predict(
            list(pictures[:2]), threshold_of_reference=0.9, keep="precision"
        )
        assert [one.accepted for one in precise] == [False, False]


def test_a_confidence_on_the_threshold_is_accepted(
    told: Path, pictures: np.ndarray, answering: Any
) -> None:
    answering([0.25, 0.25, 0.5, 0.0])
    with Classifier.load(told, variant="ort-fp32", threads=1) as classifier:
        middle = classifier.predict([pictures[0]], threshold_of_reference=0.6)
    assert middle[0].threshold == pytest.approx(0.5)
    assert middle[0].accepted is (middle[0].confidence >= middle[0].threshold)


def test_a_set_of_labels_is_the_most_probable_first(
    told: Path, pictures: np.ndarray, answering: Any
) -> None:
    answering([0.25, 0.125, 0.375, 0.25])
    with Classifier.load(told, variant="ort-fp32", threads=1) as classifier:
        (one,) = classifier.predict([pictures[0]])
    assert one.set(coverage=0.9) == ("blue", "red", "grey")
    assert one.set(coverage=0.9, method="aps") == ("blue", "red", "grey")
    assert one.set(coverage=0.8) == ()
    assert one.set(coverage=0.8, method="aps") == ("blue",)


def test_without_tables_it_says_what_to_do(told: Path, pictures: np.ndarray) -> None:
    with Classifier.load(told, variant="openvino-fp32", threads=1) as classifier:
        with pytest.raises(UsageError, match="edgetl release"):
            classifier.predict(pictures[0], threshold_of_reference=0.8)
        with pytest.raises(UsageError, match="edgetl release"):
            classifier.predict(pictures[0]).set()


def test_a_wrong_question_is_said_before_the_model_is_asked(
    told: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Classifier.load(told, variant="ort-fp32", threads=1) as classifier:
        monkeypatch.setattr(type(classifier.backend), "run", lambda *_: pytest.fail("asked"))
        for wrong in (float("nan"), 0.4, 0.95, -1):
            with pytest.raises(UsageError, match="threshold_of_reference"):
                classifier.predict(pictures[0], threshold_of_reference=wrong)


def test_a_prediction_of_ones_own_has_no_sets() -> None:
    one = Prediction(
        label="a",
        index=0,
        confidence=1.0,
        probabilities=np.array([1.0, 0.0], np.float32),
        top=(),
        entropy=0.0,
    )
    assert (one.threshold, one.accepted) == (None, None)
    with pytest.raises(UsageError, match=r"Classifier\.predict"):
        one.set()


def test_a_prediction_travels_with_its_sets(
    told: Path, pictures: np.ndarray, answering: Any
) -> None:
    answering([0.25, 0.125, 0.375, 0.25])
    with Classifier.load(told, variant="ort-fp32", threads=1) as classifier:
        (one,) = classifier.predict([pictures[0]])
    assert pickle.loads(pickle.dumps(one)).set(0.9) == one.set(0.9)
    assert copy.copy(one).set(0.8) == ()
    assert "_sets" not in repr(one)


@pytest.mark.parametrize("method", ["lac", "aps"])
def test_sets_on_the_device_are_those_of_the_fit(
    content: BundleContent, write: Any, pictures: np.ndarray, answering: Any, method: Any
) -> None:
    random = np.random.default_rng(0)
    rows = random.dirichlet(np.ones(4) / 2, size=300).astype(np.float32)
    labels = random.integers(0, 4, 300)
    fit = fit_conformal(rows, labels)
    first, second = content.variants
    table = ConformalTable(**fit.to_json())
    path = write(variants=(dataclasses.replace(first, conformal=table), second))
    # The calibration rows themselves: there a rounding error would show.
    answering(*rows[:32].tolist())
    with Classifier.load(path, variant="ort-fp32", threads=1) as classifier:
        found = classifier.predict([pictures[0]] * 32)
    for coverage in (0.5, 0.8, 0.9, 0.99):
        quantile = (fit.lac if method == "lac" else fit.aps)[COVERAGES.index(coverage)]
        expected = label_sets(rows[:32].astype(np.float64), quantile, method)
        got = [set(one.set(coverage, method)) for one in found]
        names = np.array(content.classes)
        assert got == [set(names[row].tolist()) for row in expected]
