from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from edgetl.gate import Predictions
from edgetl.report.facts import facts_of
from edgetl.report.training_classes import MAX_CLASSES, section
from tests.report.helpers.made import answers


def test_recall_and_precision_are_scikit_learns(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    (grid,) = found.blocks
    held = whole.predictions["test"]["reference"]
    said = held.probabilities.argmax(axis=1)
    precision, recall, _, n = precision_recall_fscore_support(held.labels, said)
    for at, row in enumerate(grid.rows):
        name, count, found_recall, interval, found_precision, loss = (cell.text for cell in row)
        assert (name, count) == (held.classes[at], str(n[at]))
        assert float(found_recall[:-2]) == pytest.approx(100 * recall[at], abs=0.051)
        assert float(found_precision[:-2]) == pytest.approx(100 * precision[at], abs=0.051)
        low, high = (float(text.removesuffix(" %")) for text in interval.split(" to "))
        assert low < 100 * recall[at] < high
        own = held.probabilities[held.labels == at, at]
        assert float(loss) == pytest.approx(-np.log(own).mean(), abs=6e-4)


@pytest.mark.parametrize("weights", [[0.5, 1.0, 1.0, 2.25], {"fox": 2.25, "cat": 0.5}])
def test_weights_of_the_loss_stand_beside(whole, weights: object) -> None:
    history = {"epochs": [], "class_weights": weights}
    found = section(facts_of(replace(whole, history=history)))
    assert found is not None
    (grid,) = found.blocks
    assert grid.head[2] == "weight" and [grid.rows[at][2].text for at in (0, 3)] == ["0.50", "2.25"]


def test_of_many_classes_the_worst_are_listed(whole) -> None:
    names = tuple(f"class {at}" for at in range(MAX_CLASSES + 5))
    held = answers(700, names, noise=0.0)
    data = replace(whole, predictions={"test": {"reference": held}})
    found = section(facts_of(data))
    assert found is not None
    (grid,) = found.blocks
    recalls = [float(row[2].text[:-2]) for row in grid.rows]
    assert len(recalls) == MAX_CLASSES and recalls == sorted(recalls)
    assert f"The {MAX_CLASSES} of {len(names)} classes" in grid.caption


def test_a_class_without_inputs_and_one_that_is_never_said(whole) -> None:
    held = Predictions(
        labels=[0, 0, 1, 1], probabilities=[[0.9, 0.1, 0.0]] * 4, classes=("a", "b", "c")
    )
    found = section(facts_of(replace(whole, predictions={"test": {"reference": held}})))
    assert found is not None
    _, never, absent = found.blocks[0].rows
    assert [cell.text for cell in never][2:5:2] == ["0.0 %", "–"]
    assert [cell.text for cell in absent] == ["c", "0", "–", "–", "–", "–"]


def test_without_labels_there_is_no_section(whole) -> None:
    held = Predictions(probabilities=[[0.9, 0.1]], labels=None)
    data = replace(whole, predictions={"test": {"reference": held}})
    assert section(facts_of(data)) is None
