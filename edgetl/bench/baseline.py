"""Two results of different times, compared over what each measured of the same reference.

The two were not interleaved, so their latencies cannot be compared: the machine was another one,
as it were. Each result has a ratio to its reference, and these are compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgetl.bench.cells import Cell
from edgetl.bench.compare import Outcome, Pair, Ratio
from edgetl.bench.machine import was_noisy
from edgetl.bench.result import BenchResult
from edgetl.bench.scenarios import SCENARIO
from edgetl.errors import GateError
from edgetl.stats import ratio_of_log

SCHEMA = "edgetl.bench-comparison/1"
ALPHA = 0.05
"""Of each one-sided bound, as in the gate."""

REFERENCE = "reference"

_SAME = ("cpu", "architecture", "cores", "cpu_features", "memory_mb", "cgroup_quota_cores")
_STORED = (
    "the two were measured at different times: the intervals hold what varied within each run, "
    "not what changed between them; to be sure, compare two bundles, which are measured together"
)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One variant, new over old.

    Attributes:
        variant, batch, threads: Which.
        old_p50_ms, new_p50_ms: Medians of each run, for reading: they are not judged.
        ratio: Of latencies (below 1: the new is faster), two-sided at 90 %. For stored results it
            is the ratio of the ratios to the reference.
        outcome: PASS when the upper bound is below 1 + margin, FAIL when the lower is above.
    """

    variant: str
    batch: int
    threads: int | None
    old_p50_ms: float
    new_p50_ms: float
    ratio: Ratio
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A verdict on new over old.

    Attributes:
        margin: How much slower the new may be, as a share.
        method: ``stored`` or ``interleaved``.
        compared: One a variant, at least one.
        notes: What a reader has to know, each a sentence.
    """

    margin: float
    method: str
    compared: tuple[Compared, ...]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Outcome:
        """FAIL when some variant fails, PASS when all pass, else INCONCLUSIVE."""
        outcomes = {one.outcome for one in self.compared}
        if "FAIL" in outcomes:
            return "FAIL"
        return "PASS" if outcomes == {"PASS"} else "INCONCLUSIVE"

    @property
    def exit_code(self) -> int:
        """0 PASS, 1 FAIL, 4 INCONCLUSIVE."""
        return {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 4}[self.verdict]

    def to_json(self) -> dict[str, Any]:
        """The document `edgetl.bench-comparison/1`."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "margin": self.margin,
            "method": self.method,
            "compared": [asdict(one) for one in self.compared],
            "notes": list(self.notes),
        }


def check_margin(margin: float) -> None:
    """Refuse a margin that is no share above zero.

    Raises:
        GateError: For NaN, infinity, zero or less.
    """
    if not 0 < margin < math.inf:
        raise GateError(
            "margin",
            got=f"{margin}",
            expected="a share above 0, such as 0.05: no number of rounds shows that two are equal",
            fix="leave it out for 0.05",
        )


def compare_results(old: BenchResult, new: BenchResult, *, margin: float = 0.05) -> Comparison:
    """Compare two stored results over their reference.

    The interval of the ratio of ratios is made of the two ratios' intervals by the method of
    variance estimates recovery (Zou and Donner, Statistics in Medicine 27, 2008, 1693-1702). For
    FAIL, for which one slower variant is enough, the bounds of k variants are at alpha/k
    (Bonferroni); for PASS all have to be within the margin.

    Where either run was disturbed (its control not equal to itself, or other processes or the
    hypervisor over the shares that are warned of) nothing is decided: load changes how much slower
    one backend is than another, by more than a margin of 5 %.

    Args:
        old, new: Results with their samples.
        margin: How much slower the new may be.

    Raises:
        GateError: When machines, references, or all batches and thread counts differ, when no
            variant is in both, or for a margin that is none.
    """
    check_margin(margin)
    _check_yardstick(old, new)
    ours = _closed_loop(old)
    theirs = _closed_loop(new)
    noisy = [name for name, one in (("old", old), ("new", new)) if _noisy(one)]
    shared = [key for key in ours if key in theirs]
    if not shared:
        raise _nothing_shared(ours, theirs)
    compared = tuple(
        _compare(old, new, ours[key], theirs[key], margin=margin, alpha=ALPHA / len(shared))
        for key in shared
    )
    if noisy:
        # How load moves a ratio from one run to the next is in neither run's interval.
        compared = tuple(replace(one, outcome="INCONCLUSIVE") for one in compared)
    return Comparison(
        margin=margin,
        method="stored",
        compared=compared,
        notes=(_STORED, *_notes(old, new, set(ours) ^ set(theirs), noisy)),
    )


Key = tuple[str, int, int]


def _closed_loop(result: BenchResult) -> dict[Key, Cell]:
    return {
        (cell.variant, cell.batch, cell.threads): cell
        for cell in result.cells
        if cell.scenario == SCENARIO and cell.ratio_to_reference is not None
    }


def _compare(
    old: BenchResult, new: BenchResult, was: Cell, now: Cell, *, margin: float, alpha: float
) -> Compared:
    before, after = _pair(old, was), _pair(new, now)
    ratio = _ratio_of_ratios(after, before, 1 - 2 * ALPHA)
    outcome = ratio.outcome(margin)
    if outcome == "FAIL":
        outcome = _ratio_of_ratios(after, before, 1 - 2 * alpha).outcome(margin)
    return Compared(
        variant=now.variant,
        batch=now.batch,
        threads=now.threads,
        old_p50_ms=was.p50_ms,
        new_p50_ms=now.p50_ms,
        ratio=ratio,
        outcome=outcome,
    )


def _pair(result: BenchResult, cell: Cell) -> Pair:
    return result.pair(cell.variant, REFERENCE, batch=cell.batch, threads=cell.threads)


def _ratio_of_ratios(after: Pair, before: Pair, confidence: float) -> Ratio:
    new, old = _logs(after.ratio(confidence)), _logs(before.ratio(confidence))
    difference = new[0] - old[0]
    down = math.hypot(new[0] - new[1], old[2] - old[0])
    up = math.hypot(new[2] - new[0], old[0] - old[1])
    return Ratio(
        estimate=ratio_of_log(difference),
        lower=ratio_of_log(difference - down),
        upper=ratio_of_log(difference + up),
    )


def _logs(ratio: Ratio) -> tuple[float, float, float]:
    return math.log(ratio.estimate), math.log(ratio.lower), math.log(ratio.upper)


def _check_yardstick(old: BenchResult, new: BenchResult) -> None:
    for name in _SAME:
        if old.machine.get(name) != new.machine.get(name):
            raise GateError(
                "machines of the two results",
                got=f"{name} {old.machine.get(name)!r:.60} and {new.machine.get(name)!r:.60}",
                expected="one machine",
                fix="measure both on the same machine, or compare two bundles there",
            )
    if old.reference_id is None or old.reference_id != new.reference_id:
        known = [result.reference_id for result in (old, new) if result.reference_id]
        raise GateError(
            "references of the two results",
            got="two different ones" if len(known) == 2 else "one that is not known",
            expected="the same network in the same PyTorch, which is the yardstick",
            fix="compare two bundles: edgetl bench --compare OLD.edgetl NEW.edgetl",
        )


def _nothing_shared(ours: dict[Key, Cell], theirs: dict[Key, Cell]) -> GateError:
    def listed(keys: dict[Key, Cell]) -> str:
        return ", ".join(f"{v} at batch {b}, {t} threads" for v, b, t in keys) or "none"

    return GateError(
        "variants of the two results",
        got=f"{listed(ours)}; and {listed(theirs)}",
        expected="a variant in both, at the same batch and threads",
        fix="measure the same variants with the same objective",
    )


def _noisy(result: BenchResult) -> bool:
    control = result.control
    return was_noisy(result.machine) or (control is not None and not control.equivalent)


def _notes(
    old: BenchResult, new: BenchResult, alone: set[Key], noisy: Sequence[str]
) -> Iterator[str]:
    if alone:
        names = ", ".join(sorted(f"{v} at batch {b}, {t} threads" for v, b, t in alone))
        yield f"not in both, so not compared: {names}"
    for name in noisy:
        yield (
            f"the {name} run's machine was noisy, so nothing is decided; to fix: measure on a "
            "quiet machine, or compare two bundles"
        )
    packages = [result.machine.get("packages", {}) for result in (old, new)]
    changed = sorted(
        f"{name} {packages[0].get(name)} -> {packages[1].get(name)}"
        for name in {*packages[0], *packages[1]}
        if packages[0].get(name) != packages[1].get(name)
    )
    if changed:
        yield "packages differ: " + ", ".join(changed)
