from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgetl.gate import Predictions
from edgetl.report.changes import section
from edgetl.report.facts import facts_of
from tests.report.helpers.made import report


def test_classes_and_slices_are_beside_each_other(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    note, grids = found.blocks
    assert note.text == "ort-fp32: no answer changed."
    by_class, by_camera = grids.grids
    assert (by_class.title, by_camera.title) == ("ov-int8, by class", "ov-int8, by camera")
    changed = sum(int(row[1].text.split()[0]) for row in by_camera.rows)
    assert changed == len(whole.flips)
    for row in by_camera.rows:
        assert "95 % interval" in row[1].gauge and "changed" in row[1].gauge


def test_of_many_classes_the_worst_are_shown_and_the_rest_folded() -> None:
    data = report(tuple(f"class {k}" for k in range(60)))
    found = section(facts_of(data))
    assert found is not None
    shown = next(block for block in found.blocks if block.kind == "grids").grids[0]
    folded = next(block for block in found.blocks if block.kind == "fold").grids[0]
    assert len(shown.rows) == 8 and "largest share" in shown.caption
    names = {row[0].text for row in (*shown.rows, *folded.rows)}
    assert len(names) == len(shown.rows) + len(folded.rows) <= 60
    assert all(not row[1].text.startswith("0 of") for row in folded.rows)


def test_without_labels_no_side_is_called_right(whole) -> None:
    bare = {
        name: Predictions(probabilities=one.probabilities, slices=dict(one.slices))
        for name, one in whole.predictions["test"].items()
    }
    found = section(facts_of(replace(whole, predictions={"test": bare}, flips=())))
    assert found is not None
    (grids,) = [block for block in found.blocks if block.kind == "grids"]
    assert all(len(grid.head) == 2 for grid in grids.grids)


def test_a_column_that_cannot_be_sliced_is_named(whole) -> None:
    test = dict(whole.predictions["test"])
    ours = test["reference"]
    test["reference"] = Predictions(
        labels=ours.labels,
        probabilities=ours.probabilities,
        classes=ours.classes,
        slices={"seconds": np.linspace(0, 1, ours.n)},
    )
    found = section(facts_of(replace(whole, predictions={"test": test})))
    assert found is not None
    assert found.blocks[-1].text == "Not shown: seconds, with more than 100 different values."


def test_predictions_of_other_inputs_are_left_out(whole) -> None:
    test = dict(whole.predictions["test"])
    test["ov-int8"] = whole.predictions["val"]["ov-int8"]
    found = section(facts_of(replace(whole, predictions={"test": test})))
    assert found is not None and [block.kind for block in found.blocks] == ["note"]
