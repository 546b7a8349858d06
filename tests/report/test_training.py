from __future__ import annotations

from dataclasses import replace

from edgetl.report.facts import facts_of
from edgetl.report.training import section


def test_the_kept_epoch_the_curves_the_recipe_and_the_temperatures(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    kept, curves, recipe, temperatures = found.blocks
    assert kept.text == "Epoch 3 of 3 was kept: the lowest NLL on val, 0.3333."
    assert "3 epochs; epoch 3 was kept" in curves.plots[0].caption
    assert dict(recipe.pairs) == {
        "recipe": "two-stage",
        "loss": "cross-entropy",
        "device": "cpu",
    }
    assert [row[0].text for row in temperatures.rows] == ["reference", "ov-int8"]


def test_a_plain_list_of_epochs_serves(whole) -> None:
    data = replace(whole, history=[{"epoch": 1, "loss": 1.0}], calibration=None, refit=None)
    found = section(facts_of(data))
    assert found is not None and len(found.blocks) == 1


def test_a_hostile_history_is_text(whole) -> None:
    history = {"epochs": [], "kept": "a\x1b[2J<b>", "config": {"recipe": "x" * 500, "seed": None}}
    found = section(facts_of(replace(whole, history=history, calibration=None, refit=None)))
    assert found is not None
    kept, recipe = found.blocks
    assert "\x1b" not in kept.text and len(recipe.pairs[0][1]) <= 48


def test_an_imported_model_has_no_section(whole) -> None:
    assert section(facts_of(replace(whole, history=None, calibration=None, refit={}))) is None
