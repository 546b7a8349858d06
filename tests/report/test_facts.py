from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgetl.bench.compare import ratio
from edgetl.report.facts import facts_of
from tests.report.helpers.made import report


def test_what_ships_is_what_passed_fastest_first(whole) -> None:
    facts = facts_of(whole)
    assert facts.outcome == "PASS" and facts.shipped == ("ov-int8", "ort-fp32")
    assert facts.best_fp32 == "ort-fp32"


def test_nothing_ships_from_a_release_that_did_not_pass(whole) -> None:
    data = replace(whole, verdict=dict(whole.verdict) | {"verdict": "INCONCLUSIVE"})
    assert facts_of(data).shipped == ()


def test_speed_is_the_inverse_of_the_ratio_of_the_samples(whole) -> None:
    found = facts_of(whole).faster("ov-int8", "reference")
    direct = ratio(whole.samples["ov-int8"], whole.samples["reference"])
    assert found is not None
    assert found.estimate == pytest.approx(1 / direct.estimate)
    assert (found.lower, found.upper) == pytest.approx((1 / direct.upper, 1 / direct.lower))


def test_without_samples_the_stored_ratio_serves(whole) -> None:
    stored = facts_of(replace(whole, samples={})).faster("ov-int8", "reference")
    exact = facts_of(whole).faster("ov-int8", "reference")
    assert stored is not None and exact is not None
    assert stored.estimate == pytest.approx(exact.estimate)
    assert facts_of(replace(whole, samples={})).faster("ov-int8", "ort-fp32") is None


def test_cells_are_those_of_the_objective(whole) -> None:
    assert whole.bench is not None
    cells = whole.bench["cells"]
    others = [cell | {"batch": 8, "p50_ms": 1e9} for cell in cells]
    fewer = [cell | {"threads": 1, "p50_ms": 1e9} for cell in cells]
    data = replace(whole, bench=whole.bench | {"cells": [*others, *cells, *fewer]})
    assert all(cell["p50_ms"] < 100 for cell in facts_of(data).cells.values())


def test_the_scope_says_split_and_n(whole) -> None:
    facts = facts_of(whole)
    assert facts.scope() == "test split, n = 600"
    assert facts.scope("val") == "val split, n = 200"
    assert facts.scope("other") == "other split"


def test_a_variant_has_one_colour_and_marker() -> None:
    facts = facts_of(report())
    styles = [facts.series(name) for name in facts.variants]
    assert len(set(styles)) == 3 and facts.series("reference") == ("ink", "o")
    assert np.size(facts.variants) == 3
