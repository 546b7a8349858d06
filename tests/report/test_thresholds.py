from __future__ import annotations

from dataclasses import replace

import pytest

from edgetl.report.facts import facts_of
from edgetl.report.thresholds import message, section, transfers_of


def test_the_table_has_the_documents_own_figures(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    stored = whole.thresholds["variants"]["ov-int8"]
    at = stored["reference"].index(0.8)
    grid = next(grid for grid in found.blocks[-1].grids if grid.title == "ov-int8")
    row = next(row for row in grid.rows if row[0].text == "0.80")
    kept = stored["acceptance"]
    expected = f"{kept['threshold'][at]:.3f} [{kept['low'][at]:.3f}, {kept['high'][at]:.3f}]"
    assert row[1].text == expected
    point = next(one for one in stored["on_test"]["points"] if one["reference"]["threshold"] == 0.8)
    accepted, right = (100 * point["same_number"][key] for key in ("acceptance", "precision"))
    assert row[4].text == f"{accepted:.1f} %, {right:.1f} %"
    assert "n = 300" in grid.scope and "n = 600" in grid.scope


def test_a_sentence_says_where_to_act_instead(whole) -> None:
    found = transfers_of(whole.thresholds)
    said = message("ov-int8", found["ov-int8"])
    at = found["ov-int8"].reference.index(0.8)
    assert f"from {found['ov-int8'].acceptance.threshold[at]:.3f} on" in said
    assert "from 0.80 on" in said


def test_all_variants_are_drawn_on_one_scale(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    plots = next(block for block in found.blocks if block.kind == "plots").plots
    ticks = [
        [line for line in plot.svg.split("<") if line.startswith("text") and ".0" in line]
        for plot in plots
    ]
    assert len(plots) == 2 and ticks[0] == ticks[1]


def test_thresholds_that_nothing_answers_to_are_said(whole) -> None:
    document = dict(whole.thresholds)
    one = dict(document["variants"]["ov-int8"])
    nothing = [None] * len(one["reference"])
    one["precision"] = one["acceptance"] = {"threshold": nothing, "low": nothing, "high": nothing}
    document["variants"] = {"ov-int8": one}
    found = section(facts_of(replace(whole, thresholds=document)))
    assert found is not None
    assert found.blocks[0].kind == "plots"
    assert all(row[1].text == "none found" for row in found.blocks[-1].grids[0].rows)


@pytest.mark.parametrize("document", [None, {"schema": "edgetl.thresholds/1", "variants": {}}])
def test_without_any_the_section_is_left_out(whole, document) -> None:
    assert section(facts_of(replace(whole, thresholds=document))) is None
