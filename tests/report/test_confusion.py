from __future__ import annotations

import numpy as np
from sklearn.metrics import confusion_matrix, recall_score

from edgetl.report.confusion import confusion, section
from edgetl.report.facts import facts_of
from tests.report.helpers.made import answers, report


def test_the_matrix_is_scikit_learns() -> None:
    one = answers(400, ("a", "b", "c", "d"), noise=1.0)
    predicted = one.probabilities.argmax(axis=1)
    np.testing.assert_array_equal(confusion(one), confusion_matrix(one.labels, predicted))


def test_the_recall_that_is_read_out_is_scikit_learns(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    one = whole.predictions["test"]["reference"]
    recall = recall_score(one.labels, one.probabilities.argmax(axis=1), average=None)
    svg = found.blocks[-1].plots[0].svg
    for name, value in zip(one.classes, recall, strict=True):
        assert f"{name} {100 * value:.1f} %" in svg


def test_the_heat_map_shows_every_count(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    for grid, side in zip(found.blocks[0].grids, ("reference", "ov-int8"), strict=True):
        shown = [[0 if c.text == "·" else int(c.text) for c in row[1:]] for row in grid.rows]
        np.testing.assert_array_equal(shown, confusion(whole.predictions["test"][side]))


def test_the_pairs_are_the_most_frequent_mistakes() -> None:
    data = report(tuple(f"c{k}" for k in range(40)))
    found = section(facts_of(data))
    assert found is not None
    grid = found.blocks[0]
    totals = [int(row[2].text) + int(row[3].text) for row in grid.rows]
    assert totals == sorted(totals, reverse=True) and len(totals) == 20
    test = data.predictions["test"]
    both = confusion(test["reference"]) + confusion(test["ov-int8"])
    np.fill_diagonal(both, 0)
    assert totals[0] == both.max()
