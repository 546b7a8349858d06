"""Load scenarios driven by MLPerf LoadGen: a latency counts from the arrival that was scheduled.

A closed loop waits for an answer before it asks again, so a slow answer delays the questions that
would have met it: the wait of those is never counted (coordinated omission). LoadGen's server
scenario draws arrivals from a Poisson process beforehand and counts from them. Source: Reddi et
al., MLPerf Inference Benchmark, ISCA 2020, section IV; https://github.com/mlcommons/inference.
"""

from __future__ import annotations

import json
import queue
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.bench.cells import Cell, quantiles_ms
from edgetl.bench.measure import Seconds
from edgetl.bench.scenarios import LOADGEN, SCENARIOS
from edgetl.errors import GateError
from edgetl.extras import extra

SHARE_OF_CAPACITY = 0.5
"""The load of the server scenario when none is named: so much of what a closed loop answers."""

_NAMES = {"single-stream": "SingleStream", "server": "Server", "offline": "Offline"}
_MIN_QUERIES = 100
_GIVE_UP = 5.0
_GRACE_SECONDS = 1.0
_SAMPLE = re.compile(r'"name":"Sample".*"complete_ns":(\d+)')

Call = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is asked of the system.

    Attributes:
        scenario: ``single-stream`` (the next query when the last is answered), ``server``
            (Poisson arrivals) or ``offline`` (all samples at once).
        seconds: How long queries are issued, and about how long an offline run takes.
        call_seconds: What one call takes, from a warm-up: it says how many samples fit.
        batch: Samples that one call answers; above 1 only offline.
        qps: Arrivals per second of the server scenario; left out, half of what fits.
        limit_ms: Of the server scenario: 99 % of its latencies are to be within it for LoadGen to
            hold the run for valid. Left out, ten calls' time.
        seed: Of the arrivals.
    """

    scenario: str
    seconds: float
    call_seconds: float
    batch: int = 1
    qps: float | None = None
    limit_ms: float | None = None
    seed: int = 0

    @property
    def target_qps(self) -> float | None:
        """The arrivals per second of the server scenario."""
        if self.scenario != "server":
            return None
        return self.qps or SHARE_OF_CAPACITY / self.call_seconds


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """What LoadGen saw.

    Attributes:
        load: What was asked.
        seconds: float64 [queries], each from its scheduled arrival to its answer; offline all
            samples arrive at the start.
        samples_per_second: As LoadGen counts; of the server scenario the answered ones.
        valid: Whether LoadGen holds the run for valid by its own rules: long enough, enough
            queries, and the server's latencies within the limit at 99 % confidence.
        problems: LoadGen's reasons when it does not.
    """

    load: Load
    seconds: Seconds
    samples_per_second: float
    valid: bool
    problems: tuple[str, ...]

    def cell(self, variant: str, *, threads: int, settled: bool, samples: str) -> Cell:
        """The cell of a result."""
        return Cell(
            variant=variant,
            batch=self.load.batch,
            threads=threads,
            scenario=LOADGEN + self.load.scenario,
            **quantiles_ms(self.seconds),
            throughput=self.samples_per_second,
            target_qps=self.load.target_qps,
            valid=self.valid,
            rounds=1,
            calls=self.seconds.size,
            settled=settled,
            samples=samples,
        )


def run_load(call: Call, load: Load) -> Loaded:
    """Drive a system with LoadGen.

    Args:
        call: Answers one batch of `load.batch` samples. One call runs at a time: what arrives
            meanwhile waits, and its wait counts.
        load: What is asked.

    Raises:
        MissingExtraError: Without mlperf_loadgen.
        GateError: For a load that makes no sense, one that the system cannot keep up with, or a
            log of LoadGen that cannot be read.

    What `call` raises is raised again, after LoadGen has been told of every query.
    """
    _check(load)
    with extra("bench"):
        import mlperf_loadgen
    with tempfile.TemporaryDirectory(prefix="edgetl-loadgen-") as folder:
        with _System(mlperf_loadgen, call, load) as system:
            library = mlperf_loadgen.ConstructQSL(1, 1, _nothing, _nothing)
            try:
                mlperf_loadgen.StartTestWithLogSettings(
                    system.handle,
                    library,
                    _settings(mlperf_loadgen, load),
                    _logging(mlperf_loadgen, Path(folder)),
                    # Not the audit.config that may lie in the working folder.
                    str(Path(folder) / "audit.config"),
                )
            finally:
                mlperf_loadgen.DestroyQSL(library)
        system.raise_failure()
        return _read(Path(folder), load)


class _System:
    """The system under test: LoadGen's queries in a queue, and a thread that answers them."""

    def __init__(self, loadgen: Any, call: Call, load: Load) -> None:
        self._loadgen = loadgen
        self._call = call
        self._load = load
        self._waiting: queue.SimpleQueue[Sequence[int] | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="edgetl-loadgen", daemon=True)

    def __enter__(self) -> _System:
        self.handle = self._loadgen.ConstructSUT(self._issue, _nothing_at_all)
        self._deadline = time.monotonic() + _GIVE_UP * self._load.seconds + _GRACE_SECONDS
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.put(None)
        self._thread.join()
        self._loadgen.DestroySUT(self.handle)

    def raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _issue(self, samples: Sequence[Any]) -> None:
        ids = [sample.id for sample in samples]
        for start in range(0, len(ids), self._load.batch):
            self._waiting.put(ids[start : start + self._load.batch])

    def _work(self) -> None:
        while (ids := self._waiting.get()) is not None:
            # LoadGen waits for every query, so each is told of as answered, come what may.
            if self._failure is None:
                self._answer()
            self._loadgen.QuerySamplesComplete(
                [self._loadgen.QuerySampleResponse(one, 0, 0) for one in ids]
            )

    def _answer(self) -> None:
        try:
            if time.monotonic() > self._deadline:
                raise _overloaded(self._load)
            self._call()
        except BaseException as failure:
            self._failure = failure


def _settings(loadgen: Any, load: Load) -> Any:
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, _NAMES[load.scenario])
    settings.mode = loadgen.TestMode.PerformanceOnly
    milliseconds = max(1, round(load.seconds * 1e3))
    settings.min_duration_ms = settings.max_duration_ms = milliseconds
    settings.min_query_count = _MIN_QUERIES
    settings.schedule_rng_seed = load.seed
    settings.single_stream_expected_latency_ns = max(1, round(load.call_seconds * 1e9))
    # A fifth more than the warm-up showed: LoadGen holds a run that is over too soon for invalid.
    settings.offline_expected_qps = 1.2 * load.batch / load.call_seconds
    if (qps := load.target_qps) is not None:
        limit = load.limit_ms / 1e3 if load.limit_ms else 10 * load.call_seconds
        settings.server_target_qps = qps
        settings.server_target_latency_ns = max(1, round(limit * 1e9))
    return settings


def _logging(loadgen: Any, folder: Path) -> Any:
    output = loadgen.LogOutputSettings()
    output.outdir = str(folder)
    output.copy_summary_to_stdout = False
    settings = loadgen.LogSettings()
    settings.log_output = output
    # Where each sample's own latency is written.
    settings.enable_trace = True
    return settings


def _read(folder: Path, load: Load) -> Loaded:
    trace = (folder / "mlperf_log_trace.json").read_text(encoding="utf-8", errors="replace")
    found = [int(match[1]) for match in _SAMPLE.finditer(trace)]
    facts = dict(_facts(folder / "mlperf_log_detail.txt"))
    rate = facts.get(_RATES[load.scenario])
    if not found or rate is None:
        raise GateError(
            "MLPerf LoadGen",
            got=f"{len(found)} latencies and the rate {rate} in its logs",
            expected="the latency of every query",
            fix="install the release of mlcommons-loadgen that edgetl names",
        )
    return Loaded(
        load=load,
        seconds=np.array(found, dtype=np.float64) * 1e-9,
        samples_per_second=float(rate),
        valid=facts.get("result_validity") == "VALID",
        problems=tuple(_problems(facts)),
    )


_RATES = {
    "single-stream": "result_qps_with_loadgen_overhead",
    "server": "result_completed_samples_per_sec",
    "offline": "result_samples_per_second",
}


def _facts(path: Path) -> Iterator[tuple[str, Any]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        _, mark, text = line.partition(":::MLLOG ")
        if mark:
            event = json.loads(text)
            yield event["key"], event["value"]


def _problems(facts: Mapping[str, Any]) -> Iterator[str]:
    for key, said in (
        ("result_min_duration_met", "it was too short"),
        ("result_min_queries_met", f"it had fewer than {_MIN_QUERIES} queries"),
        ("result_perf_constraints_met", "more than 1 % of the latencies were over the limit"),
        ("early_stopping_met", "its queries are too few to show 99 % within the limit"),
    ):
        if facts.get(key) is False:
            yield said


def _check(load: Load) -> None:
    if load.scenario not in SCENARIOS:
        raise GateError(
            "scenario",
            got=repr(load.scenario),
            expected="one of " + ", ".join(SCENARIOS),
            fix="name one of these",
        )
    numbers = [load.seconds, load.call_seconds, load.qps or 1.0, load.limit_ms or 1.0]
    if not all(0 < number < float("inf") for number in numbers) or load.batch < 1:
        raise GateError(
            "load",
            got=f"{load.seconds} s, {load.call_seconds} s a call, {load.qps} queries/s, "
            f"batch {load.batch}",
            expected="positive numbers",
            fix="leave them out for what edgetl chooses",
        )
    if load.batch > 1 and load.scenario != "offline":
        raise GateError(
            f"scenario {load.scenario}",
            got=f"batch {load.batch}",
            expected="batch 1: queries arrive one by one",
            fix="measure batches with the scenario offline",
        )


def _overloaded(load: Load) -> GateError:
    qps = load.target_qps
    return GateError(
        f"scenario {load.scenario}",
        got=(f"{qps:.4g} queries/s, which" if qps else "a load that")
        + f" was not answered within {_GIVE_UP:g} × {load.seconds:g} s",
        expected="a system that keeps up with the load",
        fix=f"ask for less than {1 / load.call_seconds:.4g} queries/s",
    )


def _nothing(_samples: object) -> None:
    """The samples are in memory before the test begins."""


def _nothing_at_all() -> None:
    """Every query is worked on as soon as it is there: none is held back to be flushed."""
