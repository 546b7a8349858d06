from __future__ import annotations

import numpy as np
import pytest

from edgetl.metrics import ece
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
