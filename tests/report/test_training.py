from __future__ import annotations

from dataclasses import replace

from edgetl.report.facts import facts_of
from edgetl.report.training import section


def test_the_curves_and_the_temperatures(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    losses, accuracy = found.blocks[0].plots
    assert "3 epochs; epoch 3 was kept" in losses.caption and "train split, n = 900" in losses.scope
    assert "val NLL ends at 0.333" in losses.svg and "val top-1 ends at 86.667" in accuracy.svg
    assert [row[0].text for row in found.blocks[1].rows] == ["reference", "ov-int8"]


def test_a_plain_list_of_epochs_serves(whole) -> None:
    data = replace(whole, history=[{"epoch": 1, "loss": 1.0}], calibration=None, refit=None)
    found = section(facts_of(data))
    assert found is not None and len(found.blocks) == 1


def test_nan_in_the_history_is_not_drawn(whole) -> None:
    epochs = [{"epoch": 1, "loss": float("nan")}, {"epoch": 2, "loss": 0.5}]
    found = section(facts_of(replace(whole, history=epochs)))
    assert found is not None and "train loss ends at 0.500" in found.blocks[0].plots[0].svg


def test_an_imported_model_has_no_section(whole) -> None:
    assert section(facts_of(replace(whole, history=None, calibration=None, refit={}))) is None
