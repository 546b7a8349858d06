"""The figures of one side of a bench, as `edgetl.bench/1` has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.bench.compare import Ratio, block_medians, ratio
from edgetl.bench.footprint import Footprint
from edgetl.bench.measure import Seconds
from edgetl.bench.scenarios import CELL_SCENARIOS, SCENARIO
from edgetl.stats import quantile_bounds

P90 = 0.9
P99 = 0.99


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One side at one batch size and thread count.

    Attributes:
        variant: The variant's id, or the reference's name.
        scenario: `SCENARIO`, or one that MLPerf LoadGen drove: there a latency counts from the
            arrival that was scheduled, and nothing is compared with a reference.
        p50_ms, p90_ms, p99_ms: Quantiles over all kept calls, milliseconds a call.
        p50_interval_ms: Of the median of block medians, by order statistics, two-sided 95 %; None
            for fewer than six rounds.
        p99_upper_ms: One-sided 95 % upper bound by order statistics; None below 299 calls. It
            takes calls as independent: a disturbance that lasts makes it too small.
        throughput: Inputs per second of the closed loop: batch × calls / their total time. Of a
            LoadGen scenario: answered per second, as LoadGen counts.
        target_qps: What the server scenario was asked for, queries per second.
        valid: Whether LoadGen holds its run for valid; None where LoadGen had no part.
        load_ms, first_call_ms, peak_rss_mb, size_mb: The cold start; None when not measured.
        ratio_to_reference, p90_ratio_to_reference: Of p50 and of the blocks' p90, two-sided at
            95 %; None for the reference.
        rounds, calls: What was really run.
        settled: Whether the warm-up ended in agreement.
        samples: The npz file beside the JSON, where the array is called `variant`.
    """

    variant: str
    batch: int
    threads: int
    scenario: str = SCENARIO
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p50_interval_ms: tuple[float, float] | None = None
    p99_upper_ms: float | None = None
    throughput: float
    target_qps: float | None = None
    valid: bool | None = None
    load_ms: float | None = None
    first_call_ms: float | None = None
    peak_rss_mb: float | None = None
    size_mb: float | None = None
    ratio_to_reference: Ratio | None = None
    p90_ratio_to_reference: Ratio | None = None
    rounds: int
    calls: int
    settled: bool
    samples: str


@dataclass(frozen=True, kw_only=True)
class Control:
    """One side measured against itself, judged by equivalence.

    Attributes:
        of: The side that ran twice.
        batch, threads: The run's.
        estimate, lower, upper: Its ratio to itself, two-sided at 90 % (two one-sided tests at 5 %).
        margin: The interval has to lie within a factor 1 + margin of 1.
        equivalent: Whether it does; if not, the machine was too noisy for that margin.
    """

    of: str
    batch: int
    threads: int
    estimate: float
    lower: float
    upper: float
    margin: float
    equivalent: bool


def cell_of(
    variant: str,
    seconds: Seconds,
    *,
    batch: int,
    threads: int,
    samples: str,
    settled: bool,
    against: Seconds | None = None,
    footprint: Footprint | None = None,
) -> Cell:
    """The figures of one side of an interleaved run.

    Args:
        variant: Its name.
        seconds: float64 [rounds, calls].
        batch, threads: What it was measured at.
        samples: The name of the file that its seconds go to.
        settled: Whether its warm-up ended in agreement.
        against: The reference's seconds of the same rounds; None for the reference itself.
        footprint: Its cold start, where that was measured.
    """
    judged = against if len(seconds) >= 2 else None
    cost = footprint
    return Cell(
        variant=variant,
        batch=batch,
        threads=threads,
        **quantiles_ms(seconds),
        p50_interval_ms=_p50_interval(seconds),
        throughput=float(batch * seconds.size / seconds.sum()),
        load_ms=cost.load_ms if cost else None,
        first_call_ms=cost.first_call_ms if cost else None,
        peak_rss_mb=cost.peak_rss_mb if cost else None,
        size_mb=cost.size_mb if cost else None,
        ratio_to_reference=None if judged is None else ratio(seconds, judged),
        p90_ratio_to_reference=None if judged is None else ratio(seconds, judged, quantile=P90),
        rounds=len(seconds),
        calls=seconds.shape[1],
        settled=settled,
        samples=samples,
    )


def quantiles_ms(seconds: Seconds) -> dict[str, Any]:
    """p50, p90, p99 and the upper bound of p99 in milliseconds, by their names in a cell.

    Example:
        >>> found = quantiles_ms(np.full((1, 200), 0.002))
        >>> found["p50_ms"], found["p99_upper_ms"]
        (2.0, None)
    """
    p50, p90, p99 = (float(value) * 1e3 for value in np.percentile(seconds, [50, 90, 99]))
    return {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "p99_upper_ms": _p99_upper(seconds)}


def cell_to_json(cell: Cell) -> dict[str, Any]:
    """A cell of the document: plain data, intervals as lists."""
    found = asdict(cell)
    if cell.p50_interval_ms is not None:
        found["p50_interval_ms"] = list(cell.p50_interval_ms)
    return found


def cell_from_json(value: Mapping[str, Any]) -> Cell:
    """A cell as its document has it; what older documents lack is None.

    Raises:
        ValueError, TypeError, KeyError: When the value is not a cell's.
    """
    found = dict(value)
    for name in ("ratio_to_reference", "p90_ratio_to_reference"):
        if found.get(name) is not None:
            found[name] = Ratio(**found[name])
    if found.get("p50_interval_ms") is not None:
        low, high = found["p50_interval_ms"]
        found["p50_interval_ms"] = (float(low), float(high))
    cell = Cell(**found)
    _check_values(cell)
    if cell.scenario not in CELL_SCENARIOS:
        raise ValueError(f"the scenario {cell.scenario!r:.40}")
    if Path(cell.samples).name != cell.samples or cell.samples in ("", ".", ".."):
        raise ValueError(f"the samples file {cell.samples!r}, which is not beside this one")
    return cell


def control_from_json(value: Mapping[str, Any]) -> Control:
    """A control as its document has it.

    Raises:
        ValueError, TypeError: When the value is not a control's.
    """
    control = Control(**value)
    _check_positive([control.estimate, control.lower, control.upper, control.margin])
    if not isinstance(control.equivalent, bool):
        raise ValueError(f"equivalent {control.equivalent!r:.40}")
    return control


_COUNTS = ("batch", "threads", "rounds", "calls")
_POSITIVE = ("p50_ms", "p90_ms", "p99_ms", "throughput")
_POSITIVE_OR_NONE = (
    *("p99_upper_ms", "target_qps"),
    *("load_ms", "first_call_ms", "peak_rss_mb", "size_mb"),
)


def _check_values(cell: Cell) -> None:
    for name in _COUNTS:
        value = getattr(cell, name)
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} {value!r:.40}")
    optional = [name for name in _POSITIVE_OR_NONE if getattr(cell, name) is not None]
    intervals = [
        bound
        for found in (cell.ratio_to_reference, cell.p90_ratio_to_reference)
        if found is not None
        for bound in (found.estimate, found.lower, found.upper)
    ]
    values = [getattr(cell, name) for name in (*_POSITIVE, *optional)] + intervals
    _check_positive([*values, *(cell.p50_interval_ms or ())])
    if not isinstance(cell.variant, str) or not isinstance(cell.samples, str):
        raise ValueError("a name that is no text")


def _check_positive(values: Sequence[Any]) -> None:
    for value in values:
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise ValueError(f"{value!r:.40} where a number above 0 belongs")


def _p99_upper(seconds: Seconds) -> float | None:
    if seconds.size < 2:
        return None
    # Two-sided at 90 %, which is one-sided at 95 % for the bound that is kept.
    _, upper = quantile_bounds(seconds.ravel(), P99, confidence=0.9)
    return upper * 1e3 if math.isfinite(upper) else None


def _p50_interval(seconds: Seconds) -> tuple[float, float] | None:
    if len(seconds) < 2:
        return None
    # Of block medians and not of calls: calls of one block are much alike.
    low, high = quantile_bounds(block_medians(seconds), 0.5, confidence=0.95)
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    return low * 1e3, high * 1e3
