from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from edgetl.gate import Predictions
from edgetl.report.groups import MAX_VALUES, groups_of, ways_of
from tests.report.helpers.made import answers


def test_the_groups_are_counted_as_one_would_by_hand() -> None:
    ours = answers(400, ("a", "b", "c"), noise=0.0)
    theirs = answers(400, ("a", "b", "c"), noise=1.0)
    ways, left_out = ways_of(ours)
    assert [way.title for way in ways] == ["class", "camera"] and not left_out
    first, second = (one.probabilities.argmax(axis=1) for one in (ours, theirs))
    assert ours.labels is not None
    cameras = ours.slices["camera"]
    for way, values in zip(ways, (np.array(["a", "b", "c"])[ours.labels], cameras), strict=True):
        found = {group.name: group for group in groups_of(ours, theirs, way)}
        assert set(found) == set(values.tolist())
        for name, group in found.items():
            here = values == name
            changed = (first != second) & here
            assert group.n == here.sum() and group.changed == changed.sum()
            assert group.lost == (changed & (first == ours.labels)).sum()
            assert group.gained == (changed & (second == ours.labels)).sum()


def test_the_interval_is_scipys_exact_one() -> None:
    ours = answers(300, ("a", "b"), noise=0.0)
    theirs = answers(300, ("a", "b"), noise=1.0)
    for group in groups_of(ours, theirs, ways_of(ours)[0][0]):
        expected = binomtest(group.changed, group.n).proportion_ci(0.95, method="exact")
        assert (group.low, group.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_largest_share_comes_first_and_empty_groups_are_left_out() -> None:
    ours = Predictions(labels=[0, 0, 2, 2], probabilities=np.eye(3)[[0, 0, 2, 2]])
    theirs = Predictions(labels=[0, 0, 2, 2], probabilities=np.eye(3)[[0, 0, 2, 1]])
    found = groups_of(ours, theirs, ways_of(ours)[0][0])
    assert [(group.name, group.share) for group in found] == [("2", 0.5), ("0", 0.0)]


def test_without_labels_the_references_answer_is_the_group() -> None:
    ours = Predictions(probabilities=np.eye(2)[[0, 1, 1]])
    theirs = Predictions(probabilities=np.eye(2)[[0, 1, 0]])
    (way,), _ = ways_of(ours)
    assert way.title == "class that the reference answers"
    assert [(one.name, one.changed, one.lost) for one in groups_of(ours, theirs, way)] == [
        ("1", 1, 0),
        ("0", 0, 0),
    ]


def test_a_column_of_measurements_is_no_way_to_slice() -> None:
    n = MAX_VALUES + 1
    one = Predictions(
        labels=np.zeros(n, int),
        probabilities=np.tile([0.5, 0.5], (n, 1)),
        slices={"seconds": np.linspace(0, 1, n), "indoors": np.arange(n) % 2 == 0},
    )
    ways, left_out = ways_of(one)
    assert [way.title for way in ways] == ["class", "indoors"] and left_out == ("seconds",)
    assert ways[1].names == ("False", "True")
