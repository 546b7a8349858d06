from __future__ import annotations

from dataclasses import replace

from edgetl.report.coverage import section
from edgetl.report.facts import facts_of


def test_every_side_has_its_measured_coverage_beside_the_promise(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    grid, fold = found.blocks
    assert grid.title == "Promised: 90.0 %"
    assert [other.title for other in fold.grids] == [
        "Promised: 80.0 %",
        "Promised: 95.0 %",
        "Promised: 99.0 %",
    ]
    assert [row[0].text for row in grid.rows] == ["reference", "ort-fp32", "ov-int8"] * 2
    stored = next(
        one
        for one in whole.conformal["variants"]["ov-int8"]["on_test"]["sets"]
        if (one["method"], one["coverage"]) == ("lac", 0.9)
    )
    row = grid.rows[-1]
    assert row[1].text == "LAC" and row[2].text == f"{100 * stored['measured']:.1f} %"
    assert row[4].text == f"{stored['mean_size']:.2f}" and "[" in row[6].text


def test_a_promise_that_is_not_kept_has_a_word(whole) -> None:
    document = dict(whole.conformal)
    side = dict(document["reference"])
    few = {
        "method": "lac",
        "coverage": 0.9,
        "measured": 0.5,
        "low": 0.4,
        "high": 0.6,
        "expected_low": 0.85,
    }
    side["on_test"] = {"n": 600, "sets": [few | {"mean_size": 0.5, "empty": 0.3}]}
    found = section(
        facts_of(replace(whole, conformal=document | {"reference": side, "variants": {}}))
    )
    assert found is not None
    (row,) = found.blocks[0].rows
    assert row[2].text == "50.0 %, too few" and row[2].tone == "fail"


def test_a_promise_that_calib_is_too_small_for_is_said(whole) -> None:
    document = dict(whole.conformal)
    side = dict(document["reference"])
    bare = dict.fromkeys(("measured", "low", "high", "mean_size", "empty"))
    side["on_test"] = {"n": 600, "sets": [{"method": "aps", "coverage": 0.999, **bare}]}
    found = section(
        facts_of(replace(whole, conformal=document | {"reference": side, "variants": {}}))
    )
    assert found is not None
    (row,) = found.blocks[0].rows
    assert row[2].text == "–" and row[6].text == "calib is too small for it"


def test_without_sets_the_section_is_left_out(whole) -> None:
    assert section(facts_of(replace(whole, conformal=None))) is None
