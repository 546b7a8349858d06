"""Does the gate keep its promise: how often does it pass what it should not, and what it should?

On the margin: candidates whose true harm is just the limit, for every gate, as noise, uneven noise,
sharper or softer answers make them, against references that are calibrated or not,
n = 300 to 10,000. A gate promises to pass them in at most 5 % of releases.

Equal: pairs that truly differ by nothing. On the n that the planner named for 80 % power they are
to pass in at least 80 % of releases, each gate on its own n (at least the 268 that any PASS takes),
and all of them together on theirs.

The populations are finite, so the true harms are exact; a release draws its images from them.
Each gate is the one that `edgetl.gate.judge` asks, and one release of every cell is judged as a
whole and has to agree. Beside them stands Student's interval, which the gates on a mean do not use.

    python benchmarks/bench_gate_power.py --out gate-power.json --markdown gate-power.md
    python benchmarks/bench_gate_power.py --out gate-power.json --simulations 4000
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from outcome import note, parser_of, write
from scipy.stats import binomtest
from simulated_releases import REFERENCES, Population, equal_pair, on_the_margin, population

from edgetl.bench.machine import activity
from edgetl.gate import Policy, Predictions, judge
from edgetl.gate.align import Aligned
from edgetl.gate.harms import (
    Harm,
    brier_increase,
    confidence_gap,
    flip_rate,
    log_temperature_ratio,
    nll_increase,
    top1_drop,
)
from edgetl.gate.plan import plan_from_pilot
from edgetl.gate.subgroups import slice_drops, worst_class
from edgetl.metrics import per_image_brier, per_image_nll
from edgetl.stats import paired_t_bounds, structural_minimum

SCHEMA = "edgetl.gate-power/1"
ALPHA, POWER = 0.05, 0.8
SIZES = (300, 500, 1000, 2000, 5000, 10_000)
IMAGES, QUICK_IMAGES = 30_000, 6_000
# Above this n there are fewer releases, so that every n takes as long.
FULL_N = 5000
FLIPS_OF_EQUALS = 0.01
Rows = Sequence[Mapping[str, Any]]
STUDENT = {"nll": per_image_nll, "brier": per_image_brier}

SLICE = "slice:part=b"
POLICY = Policy(max_worst_class_drop=0.05, max_slice_drop=0.03, slices=("part=b",))
LIMITS: Mapping[str, float] = {
    "top1_drop": POLICY.max_accuracy_drop,
    "nll": POLICY.max_nll_increase,
    "brier": POLICY.max_brier_increase,
    "confidence_gap": POLICY.max_confidence_gap,
    "log_temperature_ratio": POLICY.max_log_temperature_ratio,
    "flips": POLICY.max_flip_rate,
    "worst_class": 0.05,
    "slice": 0.03,
}
# What can bring each gate to its margin.
KINDS: Mapping[str, tuple[str, ...]] = {
    "top1_drop": ("noise", "broken images"),
    "nll": ("noise", "uneven noise", "sharper", "softer"),
    "brier": ("noise", "uneven noise", "sharper"),
    "confidence_gap": ("uneven noise", "sharper", "softer"),
    "log_temperature_ratio": ("noise", "sharper", "softer"),
    "flips": ("noise", "broken images"),
    "worst_class": ("noise", "broken images"),
    "slice": ("noise", "broken images"),
}
# Harm by so few images that a sample may hold none of them: no bound that knows the sample only
# can allow for it. Measured, and told apart.
RARE: Mapping[str, tuple[str, ...]] = dict.fromkeys(
    ("nll", "brier", "confidence_gap"), ("very uneven noise", "broken images")
)


@dataclass(frozen=True, kw_only=True)
class Margin:
    """The cell of a gate on its margin: what is simulated.

    Attributes:
        rare: Whether it is of the table `RARE`.
        seed: Of the releases that are drawn.
    """

    gate: str
    reference: str
    kind: str
    rare: bool
    sizes: tuple[int, ...]
    simulations: int
    images: int
    seed: int


def main() -> None:
    """Simulate, print the tables, write the file."""
    options = _options()
    before = activity()
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        note("releases on the margin")
        margin = [row for rows in pool.map(on_margin, _cells(options)) for row in rows]
        note("releases that are equal")
        images = QUICK_IMAGES if options.quick else IMAGES
        jobs = [(name, images, options.simulations) for name in _references(options)]
        equal = [row for rows in pool.map(equals, jobs) for row in rows]
    text = "\n".join(_tables(margin, equal, options.simulations))
    print(text)
    if options.markdown is not None:
        options.markdown.write_text(text + "\n", encoding="utf-8")
    body = {
        "alpha": ALPHA,
        "power": POWER,
        "simulations": options.simulations,
        "limits": dict(LIMITS),
        "on_the_margin": margin,
        "equal": equal,
        "kept": _kept(margin, equal),
    }
    write(options, schema=SCHEMA, before=before, body=body)


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--simulations",
        type=int,
        default=None,
        help="releases per cell; fewer above n = 2000 (default: 1000)",
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="write the tables there")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if options.simulations is None:
        options.simulations = 20 if options.quick else 1000
    return options


def _references(options: argparse.Namespace) -> list[str]:
    return list(REFERENCES)[1:2] if options.quick else list(REFERENCES)


def _cells(options: argparse.Namespace) -> list[Margin]:
    found: list[Margin] = []
    for rare, table in ((False, KINDS), (True, RARE)):
        for gate, kinds in table.items():
            for reference in _references(options):
                found += [
                    Margin(
                        gate=gate,
                        reference=reference,
                        kind=kind,
                        rare=rare,
                        sizes=SIZES[::3] if options.quick else SIZES,
                        simulations=options.simulations,
                        images=QUICK_IMAGES if options.quick else IMAGES,
                        seed=len(found) + position,
                    )
                    for position, kind in enumerate(kinds)
                ]
    return found


@cache
def _base(reference: str, images: int) -> Population:
    return population(reference, images)


def on_margin(cell: Margin) -> list[dict[str, Any]]:
    """How often a gate passes, n by n; nothing where this kind of candidate cannot harm so."""
    base = _base(cell.reference, cell.images)
    made = on_the_margin(cell.gate, base, cell.kind, LIMITS[cell.gate])
    if made is None:
        return []
    candidate, strength, harm = made
    random = np.random.default_rng([cell.seed, 5])
    rows = []
    for n in cell.sizes:
        releases = math.ceil(cell.simulations * min(1.0, FULL_N / n))
        drawn = (random.integers(0, cell.images, n) for _ in range(releases))
        outcomes = [_judged(cell.gate, base, candidate, abs(harm), chosen) for chosen in drawn]
        if n == cell.sizes[-1]:
            _agrees(cell.gate, base, candidate, abs(harm), random.integers(0, cell.images, 1000))
        passed = sum(outcome[0] for outcome in outcomes)
        student = sum(outcome[1] for outcome in outcomes) if cell.gate in STUDENT else None
        rows.append(
            {
                "gate": cell.gate,
                "reference": cell.reference,
                "candidate": cell.kind,
                "rare": cell.rare,
                "strength": strength,
                "limit": abs(harm),
                "n": n,
                "releases": releases,
                "passed": passed,
                "passed_by_student_t": student,
            }
        )
    return rows


def _judged(
    gate: str,
    base: Population,
    candidate: NDArray[np.float64],
    limit: float,
    rows: NDArray[np.int64],
) -> tuple[bool, bool]:
    """Whether the gate passes a release, and whether Student's interval would."""
    data = _data(base, candidate, rows)
    harm = _harm(gate, data, limit)
    passed = harm.bounds(ALPHA)[1] < limit
    score = STUDENT.get(gate)
    if score is None:
        return passed, False
    increase = score(data.candidate, data.labels) - score(data.reference, data.labels)
    return passed, paired_t_bounds(increase, 1 - 2 * ALPHA)[1] < limit


def _data(base: Population, candidate: NDArray[np.float64], rows: NDArray[np.int64]) -> Aligned:
    return Aligned(
        reference=base.probabilities[rows],
        candidate=candidate[rows],
        labels=base.labels[rows],
        classes=None,
        slices={"part": np.where(base.in_slice[rows], "b", "a")},
        notes=(),
    )


def _harm(gate: str, data: Aligned, limit: float) -> Harm:
    if gate == "worst_class":
        return worst_class(data, limit)
    if gate == "slice":
        return slice_drops(data, Policy(max_slice_drop=limit, slices=("part=b",)))[0]
    if gate == "flips":
        return flip_rate(data.reference, data.candidate, limit)
    made: Callable[..., Harm] = {
        "top1_drop": top1_drop,
        "nll": nll_increase,
        "brier": brier_increase,
        "confidence_gap": confidence_gap,
        "log_temperature_ratio": log_temperature_ratio,
    }[gate]
    return made(data.reference, data.candidate, data.labels, limit)


def _agrees(
    gate: str,
    base: Population,
    candidate: NDArray[np.float64],
    limit: float,
    rows: NDArray[np.int64],
) -> None:
    """Judge a release as a whole; its verdict on the gate has to be what is counted here."""
    data = _data(base, candidate, rows)
    part = {"part": data.slices["part"]}
    reference, shown = (
        Predictions(labels=data.labels, probabilities=side, slices=part)
        for side in (data.reference, data.candidate)
    )
    field = {
        "top1_drop": "max_accuracy_drop",
        "nll": "max_nll_increase",
        "brier": "max_brier_increase",
        "flips": "max_flip_rate",
        "worst_class": "max_worst_class_drop",
        "slice": "max_slice_drop",
    }.get(gate, f"max_{gate}")
    fields: dict[str, Any] = {field: limit}
    if gate == "slice":
        fields["slices"] = ("part=b",)
    policy = Policy(**fields)
    name = SLICE if gate == "slice" else gate
    (result,) = (found for found in judge(reference, shown, policy).gates if found.name == name)
    counted = _judged(gate, base, candidate, limit, rows)[0]
    if (result.verdict == "PASS") != counted:
        raise RuntimeError(f"{name} on {len(rows)} images: judge says {result.verdict}")


def equals(job: tuple[str, int, int]) -> list[dict[str, Any]]:
    """How often an equal pair passes on the n that the planner named, gate by gate and together."""
    reference, images, simulations = job
    base, candidate = equal_pair(population(reference, images, seed=1), FLIPS_OF_EQUALS)
    policy = Policy()
    plan = plan_from_pilot(
        Predictions(labels=base.labels, probabilities=base.probabilities),
        Predictions(labels=base.labels, probabilities=candidate),
        policy,
        power=POWER,
    )
    # With fewer images than this nothing passes, and a temperature is not fitted to ten.
    fewest = structural_minimum(policy.max_accuracy_drop)
    wanted = {gate.name: max(fewest, gate.n) for gate in plan.gates if gate.n is not None}
    limits = {name: LIMITS[name] for name in wanted}
    random = np.random.default_rng([7, len(reference)])
    rows = []
    for name, n in [*wanted.items(), ("all gates", plan.n)]:
        if n is None:
            continue
        asked = list(limits) if name == "all gates" else [name]
        passed = sum(
            all(_judged(gate, base, candidate, limits[gate], drawn)[0] for gate in asked)
            for drawn in (random.integers(0, len(base.labels), n) for _ in range(simulations))
        )
        rows.append(
            {
                "gate": name,
                "reference": reference,
                "flip_rate": FLIPS_OF_EQUALS,
                "n": n,
                "releases": simulations,
                "passed": passed,
            }
        )
    return rows


def _kept(margin: Rows, equal: Rows) -> dict[str, bool]:
    """Whether the promises are kept: by no row is one refuted at 5 % after Holm's correction."""
    usual = [row for row in margin if not row["rare"]]
    return {
        "on_the_margin": _smallest(usual, ALPHA, "greater") > 0.05,
        "equal": _smallest(equal, POWER, "less") > 0.05,
    }


def _smallest(rows: Rows, promised: float, side: Any) -> float:
    """The smallest p-value of "the promise is kept", times the number of rows."""
    values = [
        binomtest(row["passed"], row["releases"], promised, alternative=side).pvalue for row in rows
    ]
    return float(len(values) * min(values))


def _tables(margin: Rows, equal: Rows, simulations: int) -> Iterable[str]:
    sizes = sorted({row["n"] for row in margin})
    yield "Passed of releases exactly on the margin, %: all candidates and references together (the"
    yield f"worst of them). Each cell is {simulations} releases, above n = {FULL_N} fewer."
    yield "Promised: 5 at most."
    yield ""
    head = ["gate", "cells", *(f"n = {n}" for n in sizes)]
    yield from _markdown(head, _margin_rows(margin, sizes))
    yield ""
    yield f"Passed of releases that are truly equal, on the n planned for {POWER:.0%} power, %."
    yield ""
    references = list(dict.fromkeys(row["reference"] for row in equal))
    names = list(dict.fromkeys(row["gate"] for row in equal))
    by_key = {(row["gate"], row["reference"]): row for row in equal}
    body = [
        [name, *(_planned(by_key.get((name, reference))) for reference in references)]
        for name in names
    ]
    yield from _markdown(["gate", *references], body)


def _planned(row: Mapping[str, Any] | None) -> str:
    return "-" if row is None else f"{100 * row['passed'] / row['releases']:.0f} at {row['n']}"


def _margin_rows(margin: Rows, sizes: Sequence[int]) -> Iterable[list[str]]:
    kinds = [(gate, False, "passed", gate) for gate in LIMITS]
    kinds += [(gate, False, "passed_by_student_t", f"{gate}, Student's t") for gate in STUDENT]
    kinds += [(gate, True, "passed", f"{gate}, rare harm") for gate in RARE]
    for gate, rare, key, name in kinds:
        rows = [row for row in margin if row["gate"] == gate and row["rare"] == rare]
        if not rows:
            continue
        shares = [
            [100 * row[key] / row["releases"] for row in rows if row["n"] == n] for n in sizes
        ]
        yield [
            name,
            str(len(shares[0])),
            *(f"{np.mean(share):.1f} ({max(share):.1f})" for share in shares),
        ]


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield "| " + " | ".join(head) + " |"
    yield "| " + " | ".join(["---"] * len(head)) + " |"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


if __name__ == "__main__":
    main()
