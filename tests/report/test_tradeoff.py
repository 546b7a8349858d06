from __future__ import annotations

from dataclasses import replace

import pytest

from edgetl.report.facts import facts_of
from edgetl.report.tradeoff import Point, _bars, frontier, section


def at(name: str, p50: float, upper: float) -> Point:
    return Point(id=name, p50_ms=p50, harm=upper / 2, upper=upper, chosen=False)


@pytest.mark.parametrize(
    ("points", "kept"),
    [
        ([at("a", 1, 3), at("b", 2, 2), at("c", 3, 1)], "abc"),
        ([at("a", 1, 1), at("b", 2, 2)], "a"),
        ([at("a", 1, 2), at("b", 1, 1)], "b"),
        ([at("a", 1, 1), at("b", 1, 1)], "a"),
    ],
)
def test_the_frontier_is_what_nobody_beats(points: list[Point], kept: str) -> None:
    assert "".join(point.id for point in frontier(points)) == kept


def test_labels_keep_clear_of_whiskers_and_of_the_stepped_line() -> None:
    assert _bars([at("a", 1, 3), at("b", 2, 1)]) == [(1, 1.5, 3), (2, 0.5, 1), (2, 3, 1)]


def test_every_candidate_is_in_both_figures(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    for plot in found.blocks[0].plots:
        assert all(name in plot.svg for name in ("ort-fp32", "ov-int8", "ov-bad"))
        assert "val split, n = 200" in plot.scope


def test_what_the_figures_call_a_harm_leaves_latency_out(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None and "both the latency and that bound" in found.read
    worst = found.blocks[0].plots[1]
    assert worst.title == "The worst harm to the answers" and "judged apart" in worst.caption


def test_two_near_lines_share_one_word_and_no_factor_stands_over_the_title(whole) -> None:
    entries = [dict(entry) for entry in whole.selection["entries"]]
    for entry in entries:
        entry["harms"] = {"nll": 0.0}
    entries[0]["nll_upper"] = 3e6
    found = section(facts_of(replace(whole, selection={"entries": entries})))
    assert found is not None
    far, worst = found.blocks[0].plots
    assert "the limit" in far.svg and "half of it" not in far.svg
    assert "half of it" in worst.svg and ">1e6<" not in far.svg and "1e+06" in far.svg


def test_without_a_selection_there_is_no_section(whole) -> None:
    assert section(facts_of(replace(whole, selection=None))) is None


def test_a_candidate_without_a_number_is_left_out(whole) -> None:
    entries = [dict(entry) for entry in whole.selection["entries"]]
    entries[0]["nll_upper"] = float("nan")
    entries[0]["p50_ms"] = None
    found = section(facts_of(replace(whole, selection={"entries": entries})))
    assert found is not None and entries[0]["id"] not in found.blocks[0].plots[0].svg
