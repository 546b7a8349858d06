from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from edgetl.gate.verdict import MEASURED
from edgetl.report import ReportData
from edgetl.report.blocks import Forest, ForestRow
from edgetl.report.facts import facts_of
from edgetl.report.margins import MAX_SLICES, section


def rewritten(data: ReportData, gates: Sequence[dict[str, Any]]) -> ReportData:
    """The release with one judged variant that has these gates."""
    entry = {**data.verdict["variants"][0], "gates": list(gates)}
    return replace(data, verdict={**data.verdict, "variants": [entry]})


def gate(**changes: Any) -> dict[str, Any]:
    values = {
        "name": "nll",
        "estimate": 0.01,
        "lower": 0.005,
        "upper": 0.015,
        "limit": 0.02,
        "n": 600,
        "verdict": "PASS",
        "more_samples": 0,
    }
    return values | changes


def rows(data: ReportData) -> tuple[ForestRow, ...]:
    found = section(facts_of(data))
    assert found is not None
    forest = found.blocks[0]
    assert isinstance(forest, Forest)
    return forest.groups[0].rows


def span(row: ForestRow) -> tuple[float, float]:
    """Where the bar begins and ends, in percent of the width."""
    found = re.search(r'class="span" x="([\d.]+)%".*?width="([\d.]+)%"', str(row.gauge))
    assert found is not None
    return float(found[1]), float(found[1]) + float(found[2])


def line(row: ForestRow, kind: str) -> float:
    found = re.search(rf'class="{kind}" x1="([\d.]+)%"', str(row.gauge))
    assert found is not None
    return float(found[1])


def test_each_judged_variant_is_a_group_with_a_row_for_each_gate(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    groups = found.blocks[0].groups
    assert [(group.name, group.outcome) for group in groups] == [
        ("ov-int8", "PASS"),
        ("ort-fp32", "PASS"),
    ]
    names = [row.name for row in groups[0].rows]
    assert names[:3] == ["top-1 lost", "NLL added", "Brier added"]
    assert {"worst class: recall lost", "camera = night: top-1 lost"} < set(names)
    assert "n = 600" in groups[0].scope and "95 %" in groups[0].scope


def test_gates_of_different_units_share_an_axis(whole) -> None:
    nll = gate()
    size = gate(name="size_mb", estimate=10.0, lower=5.0, upper=15.0, limit=20.0)
    first, second = rows(rewritten(whole, [nll, size]))
    assert span(first) == span(second)
    assert line(first, "zero") < span(first)[0] < span(first)[1] < line(first, "limit")
    assert "25 % to 75 % of the limit" in first.gauge and "50 % seen" in first.gauge


def test_the_judged_figure_and_the_limit_are_in_words(whole) -> None:
    passed, failed, opened = rows(
        rewritten(
            whole,
            [
                gate(),
                gate(verdict="FAIL", lower=0.03, estimate=0.04, upper=0.05),
                gate(name="p99_ms", verdict="INCONCLUSIVE", limit=20.0, upper=None, lower=9.0),
            ],
        )
    )
    assert (passed.figure, passed.limit) == ("at most 0.0150 nats", "0.0200 nats")
    assert (failed.figure, failed.sign) == ("at least 0.0300 nats", "✕")
    assert (opened.figure, opened.limit) == ("no upper bound", "20.0 ms")


def test_every_outcome_has_a_shape_of_its_own(whole) -> None:
    outcomes = ("PASS", "FAIL", "INCONCLUSIVE")
    found = rows(rewritten(whole, [gate(verdict=outcome) for outcome in outcomes]))
    marks = {re.search(r'class="mark" d="([^"]+)"', str(row.gauge))[1] for row in found}
    assert len(marks) == 3 and len({row.sign for row in found}) == 3


def test_a_gate_without_data_is_not_drawn_but_listed(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    # These predictions were judged without a bench.
    assert not any(row.name.startswith("p50") for row in found.blocks[0].groups[0].rows)
    assert any(cells[0].text == "p50 against PyTorch" for cells in found.blocks[1].grids[0].rows)


@pytest.mark.parametrize(
    ("ends", "arrows"),
    [((-50.0, 90.0), 2), ((4.0, 6.0), 1), ((0.0, 0.5), 0), ((None, None), 2)],
)
def test_what_leaves_the_picture_ends_in_an_arrow(whole, ends, arrows: int) -> None:
    low, high = (None if end is None else 0.02 * end for end in ends)
    (row,) = rows(rewritten(whole, [gate(lower=low, estimate=0.01, upper=high)]))
    assert str(row.gauge).count('class="arrow"') == arrows
    left, right = span(row)
    assert 0 <= left <= right <= 100


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_measured_gates_appear_like_the_others(whole, name: str) -> None:
    (row,) = rows(rewritten(whole, [gate(name=name, limit=2.0, lower=1.0, upper=1.5, estimate=1)]))
    assert row.figure.startswith("at most 1.50") and row.limit.startswith("2.00")


def test_of_many_slices_the_open_ones_and_the_closest_are_drawn(whole) -> None:
    many = [gate(name=f"slice:camera={k:02}", upper=0.0001 * k, limit=0.02) for k in range(40)]
    many[3] |= {"verdict": "INCONCLUSIVE", "upper": 0.03}
    found = section(facts_of(rewritten(whole, [gate(), *many])))
    assert found is not None
    (group,) = found.blocks[0].groups
    names = [row.name for row in group.rows]
    assert len(names) == 1 + MAX_SLICES and "camera = 03: top-1 lost" in names
    assert "camera = 39: top-1 lost" in names and "camera = 00: top-1 lost" not in names
    assert group.rest.startswith("28 further slices passed")
    assert len(found.blocks[1].grids[0].rows) == 41


def test_nothing_judged_gives_no_section(whole) -> None:
    assert section(facts_of(replace(whole, verdict={**whole.verdict, "variants": []}))) is None
