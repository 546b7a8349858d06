from __future__ import annotations

import re

import numpy as np
import pytest

from edgetl.metrics import aurc, ece, smooth_ece
from edgetl.report.facts import facts_of
from edgetl.report.reliability import BINS, bins_of, section
from tests.report.helpers.made import answers


def test_the_bins_add_up_to_the_ece() -> None:
    one = answers(700, ("a", "b", "c"), noise=0.5)
    found = bins_of(one)
    gap = (found.count * np.abs(found.accuracy - found.confidence)).sum() / one.n
    assert gap == pytest.approx(ece(one.probabilities, one.labels, bins=BINS), abs=1e-12)
    assert found.count.sum() == one.n


def test_the_whiskers_hold_the_accuracy() -> None:
    found = bins_of(answers(300, ("a", "b", "c"), noise=0.5))
    assert (found.low <= found.accuracy).all() and (found.accuracy <= found.high).all()


def test_each_diagram_says_n_and_what_chance_alone_would_show(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    plots = found.blocks[0].plots
    assert [plot.title for plot in plots] == ["reference", "ov-int8", "ort-fp32"]
    assert all("n = 600" in plot.scope and "would show" in plot.caption for plot in plots)


def test_the_diagrams_share_one_scale(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    tops = {re.findall(r">([\d.]+ %)</text>", str(plot.svg))[-1] for plot in found.blocks[0].plots}
    assert len(tops) == 1


def test_other_measures_are_those_of_the_metrics(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    (grid,) = found.blocks[1].grids
    assert [row[0].text for row in grid.rows] == ["reference", "ov-int8", "ort-fp32"]
    one = whole.predictions["test"]["ov-int8"]
    row = [cell.text for cell in grid.rows[1]]
    assert row[2].startswith(f"{ece(one.probabilities, one.labels, scheme='mass'):.4f} (0.")
    assert row[4] == f"{smooth_ece(one.probabilities, one.labels):.4f}"
    assert row[7] == f"{aurc(one.probabilities, one.labels):.4f}"
