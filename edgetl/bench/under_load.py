"""Sides under one of LoadGen's scenarios, one after the other, as a result of the bench.

Nothing is compared with a reference here: latencies under load come from different moments, and
only interleaved rounds show a ratio. They say what a service would see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from edgetl.backends.base import Backend
from edgetl.bench.cells import Cell
from edgetl.bench.loadgen import Load, run_load
from edgetl.bench.machine import activity, disturbances, machine_facts, shares
from edgetl.bench.measure import Seconds, in_process, warm
from edgetl.bench.result import BenchResult
from edgetl.spec import Array

# LoadGen, a queue and a thread of Python take tens of microseconds a query: a call that is
# quicker than that is not what limits the load.
_LEAST_SECONDS = {"single-stream": 0.0, "server": 2e-4, "offline": 5e-5}


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What is asked of each side, as `edgetl.bench.loadgen.Load` has it.

    Attributes:
        scenario: ``single-stream``, ``server`` or ``offline``.
        seconds: For each side.
        qps: Of the server scenario; half of each side's capacity when left out.
        limit_ms: Of the server scenario; ten calls' time when left out.
        batch: Of the offline scenario; elsewhere samples come one by one.
        seed: Of the arrivals.
    """

    scenario: str
    seconds: float = 10.0
    qps: float | None = None
    limit_ms: float | None = None
    batch: int = 1
    seed: int = 0

    @property
    def used_batch(self) -> int:
        """What a call answers in this scenario."""
        return self.batch if self.scenario == "offline" else 1

    def load(self, call_seconds: float) -> Load:
        """The load for a side whose warm call takes `call_seconds`."""
        return Load(
            scenario=self.scenario,
            seconds=self.seconds,
            call_seconds=max(call_seconds, _LEAST_SECONDS.get(self.scenario, 0.0)),
            batch=self.used_batch,
            qps=self.qps,
            limit_ms=self.limit_ms,
            seed=self.seed,
        )


def measure_under_load(
    sides: Iterable[tuple[str, Backend, Mapping[str, Array]]],
    options: LoadOptions,
    *,
    threads: int,
) -> BenchResult:
    """Warm each side and put it under load.

    Args:
        sides: Name, backend and a batch of `options.used_batch` inputs; each is asked for when
            the one before is done.
        options: The load.
        threads: What the backends were loaded with.

    Raises:
        EdgetlError: What a backend or LoadGen refused.
    """
    before = activity()
    file = f"samples-loadgen-{options.scenario}-b{options.used_batch}-t{threads}.npz"
    cells: list[Cell] = []
    samples: dict[str, Seconds] = {}
    problems: list[str] = []
    for name, backend, inputs in sides:
        settled, call_seconds = warm(in_process(backend.run, inputs))
        loaded = run_load(partial(backend.run, inputs), options.load(call_seconds))
        cells.append(loaded.cell(name, threads=threads, settled=settled, samples=file))
        samples[name] = loaded.seconds[None, :]
        problems += [f"{name}: LoadGen does not hold it for valid: {p}" for p in loaded.problems]
    after = activity()
    facts = machine_facts() | shares(before, after)
    settled_by_name = {cell.variant: cell.settled for cell in cells}
    facts["warnings"] = [
        *disturbances(before, after, facts, settled=settled_by_name),
        *(f"{problem}; to fix: more --seconds, or a lower --qps" for problem in problems),
    ]
    return BenchResult(machine=facts, cells=tuple(cells), control=None, samples={file: samples})
