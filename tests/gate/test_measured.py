from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from edgetl.bench.cells import Cell
from edgetl.errors import GateError
from edgetl.gate import Objective, Policy, judge
from edgetl.stats import hodges_lehmann

CELL = Cell(
    variant="made",
    batch=1,
    threads=2,
    p50_ms=1.0,
    p90_ms=1.1,
    p99_ms=1.2,
    throughput=1000.0,
    peak_rss_mb=80.0,
    size_mb=10.0,
    rounds=24,
    calls=40,
    settled=True,
    samples="samples-b1-t2.npz",
)


@pytest.mark.parametrize(("limit", "outcome"), [(10.0, "PASS"), (10.5, "PASS"), (9.99, "FAIL")])
def test_size_and_memory_are_what_they_are(make, limit, outcome):
    verdict = judge(make(), make(), Policy(max_size_mb=limit, max_memory_mb=8 * limit), cell=CELL)
    for name, value in (("size_mb", 10.0), ("memory_mb", 80.0)):
        gate = verdict.gate(name)
        assert (gate.estimate, gate.lower, gate.upper) == (value, value, value)
        assert (gate.verdict, gate.more_samples, gate.n) == (outcome, 0, 1)
    assert verdict.verdict == outcome
    assert verdict.more_samples == 0


def test_a_size_that_is_nan_never_passes(make):
    cell = replace(CELL, size_mb=float("nan"))
    assert judge(make(), make(), Policy(max_size_mb=9.0), cell=cell).verdict == "FAIL"


def test_what_is_off_is_not_listed(make, make_pair):
    verdict = judge(make(), make(), Policy(), bench=make_pair(), cell=CELL)
    assert {gate.name for gate in verdict.gates} & {"p90_ratio", "p99_ms", "size_mb"} == set()


@pytest.mark.parametrize("name", ["p50_ratio", "p90_ratio", "p99_ms", "size_mb", "memory_mb"])
def test_a_limit_without_a_measurement_is_an_error(make, name):
    policy = Policy(**{f"max_{name}": 5.0})
    with pytest.raises(GateError, match=f"max_{name}"):
        judge(make(), make(), policy)
    with pytest.raises(GateError, match=f"max_{name}"):
        judge(make(), make(), policy, cell=replace(CELL, size_mb=None, peak_rss_mb=None))


def test_a_cell_at_another_objective_is_refused(make):
    with pytest.raises(GateError, match="objective"):
        judge(make(), make(), Policy(objective=Objective(batch=8)), cell=CELL)


@pytest.mark.parametrize(("ratio", "outcome"), [(0.5, "PASS"), (1.3, "FAIL")])
def test_p90_is_the_ratio_of_the_blocks_p90(make, make_pair, ratio, outcome):
    pair = make_pair(ratio)
    gate = judge(make(), make(), Policy(max_p90_ratio=1.0), bench=pair).gate("p90_ratio")
    ours, theirs = (np.quantile(side, 0.9, axis=1) for side in (pair.seconds, pair.against_seconds))
    expected = np.exp(hodges_lehmann(np.log(ours / theirs), confidence=0.9))
    assert (gate.estimate, gate.lower, gate.upper) == pytest.approx(tuple(expected))
    assert (gate.verdict, gate.n) == (outcome, 24)


def test_p99_is_bounded_by_an_order_statistic(make, make_pair):
    pair = make_pair(1.0)
    gate = judge(make(), make(), Policy(max_p99_ms=5.0), bench=pair).gate("p99_ms")
    ordered = np.sort(pair.seconds.reshape(-1)) * 1e3
    rank = next(rank for rank in range(960) if binom.cdf(rank - 1, 960, 0.99) >= 0.95)
    assert gate.upper == ordered[rank - 1]
    assert gate.estimate == pytest.approx(np.percentile(ordered, 99))
    assert (gate.verdict, gate.n) == ("PASS", 960)
    slow = judge(make(), make(), Policy(max_p99_ms=1.5), bench=pair).gate("p99_ms")
    assert slow.verdict == "FAIL"


def test_fewer_than_299_calls_cannot_bound_p99(make, make_pair):
    verdict = judge(make(), make(), Policy(max_p99_ms=50.0), bench=make_pair(rounds=5))
    gate = verdict.gate("p99_ms")
    assert (gate.verdict, gate.upper, gate.more_samples) == ("INCONCLUSIVE", None, 99)
    assert "it takes at least 299" in gate.detail
    assert verdict.more_samples == 0  # images cannot decide it


def test_an_open_p99_says_how_many_more_calls_decide_it(make, make_pair):
    pair = make_pair(rounds=10, noise=0.001)
    seconds = pair.seconds.copy()
    seconds[0, 0] = 1.0  # one call of 400: at 0.25 % the bound of 1 % needs more of them
    gate = judge(
        make(), make(), Policy(max_p99_ms=50.0), bench=replace(pair, seconds=seconds)
    ).gate("p99_ms")
    assert gate.verdict == "INCONCLUSIVE"
    n = 400 + gate.more_samples
    most = max(k for k in range(n) if binom.cdf(k, n, 0.01) < 0.05)
    assert binom.cdf(most, n, 1 / 400) >= 0.8
