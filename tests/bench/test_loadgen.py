from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from edgetl.bench import loadgen
from edgetl.bench.loadgen import Load, run_load
from edgetl.errors import GateError
from edgetl.stats import quantile_minimum


def _spin(seconds: float):
    def call() -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass

    return call


def test_a_server_is_asked_at_scheduled_times_and_waits_count():
    load = Load(scenario="server", seconds=0.4, call_seconds=0.002, qps=300.0, seed=3)
    loaded = run_load(_spin(0.002), load)
    assert loaded.seconds.min() >= 0.002
    # Half of capacity and more: some query met one that was being answered, and waited.
    assert loaded.seconds.max() > 0.003
    assert 20 <= loaded.seconds.size <= 200
    assert loaded.load.target_qps == 300.0
    cell = loaded.cell("x", threads=1, settled=True, samples="s.npz")
    assert (cell.scenario, cell.target_qps) == ("loadgen-server", 300.0)
    assert cell.p50_ms == pytest.approx(np.median(loaded.seconds) * 1e3)
    assert cell.ratio_to_reference is None
    # Too few queries for LoadGen, and it says so.
    assert not loaded.valid
    assert loaded.problems


@pytest.mark.parametrize("scenario", loadgen.SCENARIOS)
def test_latencies_are_those_that_loadgen_counts(scenario, monkeypatch):
    seen = {}
    read = loadgen._read

    def read_both(folder, load):
        seen.update(loadgen._facts(folder / "mlperf_log_detail.txt"))
        return read(folder, load)

    monkeypatch.setattr(loadgen, "_read", read_both)
    load = Load(scenario=scenario, seconds=0.2, call_seconds=0.001, qps=400.0)
    nanoseconds = np.sort(np.rint(run_load(_spin(0.0005), load).seconds * 1e9))
    assert nanoseconds[0] == seen["result_min_latency_ns"]
    assert nanoseconds[-1] == seen["result_max_latency_ns"]
    assert nanoseconds.mean() == pytest.approx(seen["result_mean_latency_ns"], abs=1)
    for share in (0.5, 0.9, 0.99):
        key = f"result_{share:.2%}_percentile_latency_ns".replace("%", "")
        assert nanoseconds[int(share * nanoseconds.size)] == seen[key]


def test_a_single_stream_asks_when_it_has_its_answer():
    loaded = run_load(_spin(0.001), Load(scenario="single-stream", seconds=0.3, call_seconds=1e-3))
    assert loaded.valid == (loaded.seconds.size >= 100) == (loaded.problems == ())
    assert loaded.load.target_qps is None
    assert loaded.seconds.min() >= 0.001
    assert loaded.samples_per_second <= 1000


def test_offline_answers_batches():
    calls = []

    def call() -> None:
        calls.append(1)
        time.sleep(0.001)

    loaded = run_load(call, Load(scenario="offline", seconds=0.2, call_seconds=1e-3, batch=8))
    assert loaded.seconds.size == pytest.approx(8 * len(calls), abs=8)
    assert loaded.samples_per_second > 1000


def test_a_failing_call_is_raised_and_ends_the_test():
    calls = []

    def call() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise ValueError("third")

    with pytest.raises(ValueError, match="third"):
        run_load(call, Load(scenario="server", seconds=0.2, call_seconds=1e-4, qps=500.0))
    assert len(calls) == 3


def test_a_load_that_is_too_much_is_said(monkeypatch):
    monkeypatch.setattr("edgetl.bench.loadgen._GIVE_UP", 1.0)
    monkeypatch.setattr("edgetl.bench.loadgen._GRACE_SECONDS", 0.0)
    load = Load(scenario="server", seconds=0.1, call_seconds=0.01, qps=1000.0)
    with pytest.raises(GateError, match="1000 queries/s"):
        run_load(_spin(0.01), load)


def test_the_default_load_is_half_of_capacity():
    assert Load(scenario="server", seconds=1.0, call_seconds=0.005).target_qps == 100.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"scenario": "Server"},
        {"seconds": 0.0},
        {"call_seconds": float("nan")},
        {"qps": -1.0},
        {"qps": float("inf")},
        {"limit_ms": -1.0},
        {"batch": 0},
        {"batch": 2},
    ],
)
def test_loads_that_make_no_sense_are_refused(wrong):
    values = {"scenario": "server", "seconds": 1.0, "call_seconds": 0.01}
    with pytest.raises(GateError):
        run_load(lambda: None, Load(**values | wrong))


def test_nothing_is_written_beside_the_caller(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_load(lambda: None, Load(scenario="single-stream", seconds=0.05, call_seconds=1e-4))
    assert list(tmp_path.iterdir()) == []


def test_mlperf_needs_as_many_queries_as_the_bound_says():
    # LoadGen's early stopping at 99 % confidence without a query over the limit: 459 queries
    # for p99, 90 for p95, 44 for p90 (MLPerf inference rules, "Early stopping").
    assert [quantile_minimum(q, confidence=0.99) for q in (0.99, 0.95, 0.90)] == [459, 90, 44]
