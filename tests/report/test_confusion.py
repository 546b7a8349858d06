from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, recall_score

from edgetl.report.confusion import _picked, confusion, section
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
    first, second = found.blocks[-1].plots
    assert first.title.endswith("ov-int8") and second.title.endswith("ort-fp32")
    svg = first.svg
    for name, value in zip(one.classes, recall, strict=True):
        assert f"{name} {100 * value:.1f} %" in svg


def test_the_heat_map_shows_every_count(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    for grid, side in zip(found.blocks[0].grids, ("reference", "ov-int8", "ort-fp32"), strict=True):
        shown = [[0 if c.text == "·" else int(c.text) for c in row[1:]] for row in grid.rows]
        np.testing.assert_array_equal(shown, confusion(whole.predictions["test"][side]))


def test_the_pairs_are_the_most_frequent_mistakes() -> None:
    data = report(tuple(f"c{k}" for k in range(40)))
    found = section(facts_of(data))
    assert found is not None
    grid = found.blocks[0]
    totals = [sum(int(cell.text) for cell in row[2:5]) for row in grid.rows]
    assert totals == sorted(totals, reverse=True) and len(totals) == 20
    test = data.predictions["test"]
    both = sum(confusion(test[side]) for side in ("reference", "ov-int8", "ort-fp32"))
    np.fill_diagonal(both, 0)
    assert totals[0] == both.max()


@pytest.mark.parametrize(
    ("k", "name", "turned", "wide"),
    [
        (4, "c", False, False),
        (6, "a long class name", True, False),
        (20, "a long name", True, True),
    ],
)
def test_wide_heads_stand_upright_and_wide_squares_below_each_other(k, name, turned, wide) -> None:
    found = section(facts_of(report(tuple(f"{index} {name}" for index in range(k)))))
    assert found is not None
    assert found.blocks[0].wide == wide
    assert all(grid.turned == turned for grid in found.blocks[0].grids)


@pytest.mark.parametrize(
    ("change", "words", "first"),
    [
        ([-0.1, 0.2], "the largest losses, then the largest gains", 0),
        ([-0.1, 0.0], "the largest losses", 0),
        ([0.0, 0.2], "the largest gains", 1),
        ([0.0, 0.0], "no class changed, the 20 lowest are shown", 39),
    ],
)
def test_of_many_classes_those_that_changed_are_shown(change, words, first) -> None:
    ours = np.linspace(0.7, 0.5, 40)
    order, what = _picked(ours, ours + np.r_[change, np.zeros(38)])
    assert what == words and order[0] == first
