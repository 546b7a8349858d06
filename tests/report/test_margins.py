from __future__ import annotations

from dataclasses import replace

import pytest

from edgetl.report.facts import facts_of
from edgetl.report.margins import section


def test_each_judged_variant_has_a_panel_with_its_shares(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    plots = found.blocks[0].plots
    assert [plot.title for plot in plots] == ["ov-int8: PASS", "ort-fp32: PASS"]
    gate = next(g for g in whole.verdict["variants"][0]["gates"] if g["name"] == "nll")
    share = gate["upper"] / gate["limit"]
    assert f"NLL added {gate['lower'] / gate['limit']:.2f} to {share:.2f}".replace("-", "−") in (
        plots[0].svg
    )
    assert "n = 600" in plots[0].scope


def test_a_gate_without_data_is_not_drawn(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    # These predictions were judged without a bench.
    assert "p50 against" not in found.blocks[0].plots[0].svg


def test_a_harm_far_beyond_the_margin_stays_inside_the_figure(whole) -> None:
    entry = whole.verdict["variants"][0]
    gates = [g | {"lower": -50.0, "estimate": 40.0, "upper": 90.0} for g in entry["gates"]]
    verdict = {**whole.verdict, "variants": [entry | {"gates": gates}]}
    found = section(facts_of(replace(whole, verdict=verdict)))
    assert found is not None and "−5000.00 to 9000.00 pt" in found.blocks[0].plots[0].svg


def test_a_harm_wholly_beyond_the_margin_is_said_in_shares(whole) -> None:
    entry = whole.verdict["variants"][0]
    gates = [g | {"lower": 4 * g["limit"], "upper": 6 * g["limit"]} for g in entry["gates"]]
    verdict = {**whole.verdict, "variants": [entry | {"gates": gates}]}
    found = section(facts_of(replace(whole, verdict=verdict)))
    assert found is not None and "4.0–6.0×" in found.blocks[0].plots[0].svg


@pytest.mark.parametrize(("low", "high", "words"), [(0.3, 0.4, 2), (0.9, 1.1, 1), (1.2, 1.3, 2)])
def test_a_latency_has_the_ends_of_a_ratio(whole, low: float, high: float, words: int) -> None:
    entry = whole.verdict["variants"][0]
    numbers = {"limit": 1.0, "lower": low, "estimate": (low + high) / 2, "upper": high, "n": 9}
    gates = [g | numbers for g in entry["gates"] if g["name"] == "latency"]
    verdict = {**whole.verdict, "variants": [entry | {"gates": gates}]}
    found = section(facts_of(replace(whole, verdict=verdict)))
    assert found is not None
    plot = found.blocks[0].plots[0]
    assert "begins at 0×" in plot.caption and "p50 against PyTorch" in plot.svg
    assert sum(f">{word}</text>" in plot.svg for word in ("0×", "1.00×")) == words


def test_nothing_judged_gives_no_section(whole) -> None:
    assert section(facts_of(replace(whole, verdict={**whole.verdict, "variants": []}))) is None
