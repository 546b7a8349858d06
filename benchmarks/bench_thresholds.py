"""Do a variant's thresholds and sets of labels keep what they promise on calib splits of any size?

Releases are drawn from a finite population, so that the right thresholds and the coverage are
known exactly. Two tables:

- how often the interval of a transferred threshold holds the right one, and how wide it is;
- what coverage a set of labels really has when the temperature was fitted on the very images
  that the quantile is taken from, as a release does; and what that costs: how much more it is
  when the temperature was fitted on as many others.

    python benchmarks/bench_thresholds.py --out thresholds.json
    python benchmarks/bench_thresholds.py --out thresholds.json --simulations 2000
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from outcome import note, parser_of, show, write
from simulated_releases import REFERENCES, Population, population

from edgetl.bench.machine import activity
from edgetl.calibration import fit_temperature
from edgetl.calibration.conformal import Method, fit_conformal, label_sets
from edgetl.calibration.thresholds import KeptThresholds, transfer_thresholds
from edgetl.metrics import softmax

SCHEMA = "edgetl.thresholds-bench/1"
SIZES = (200, 500, 1000, 2000)
IMAGES, QUICK_IMAGES = 60_000, 3_000
# Few points make a release quick; the interval of each does not depend on the others but for
# being widened so that it never falls.
GRID = (0.6, 0.7, 0.8, 0.9, 0.95)
COVERAGE = 0.9
NOISE, SHARPER = 0.3, 1.15
KEEPS = ("acceptance", "precision")
METHODS: tuple[Method, ...] = ("lac", "aps")


def main() -> None:
    """Simulate, print both tables, write the file."""
    options = _options()
    before = activity()
    size = QUICK_IMAGES if options.quick else IMAGES
    names = list(REFERENCES)[1:2] if options.quick else list(REFERENCES)
    sizes = SIZES[:2] if options.quick else SIZES
    intervals, coverages = [], []
    for name in names:
        note(name)
        drawn = population(name, size)
        intervals += list(_intervals(drawn, sizes, options.simulations))
        coverages += list(_coverages(drawn, sizes, options.simulations))
    show(
        f"Share of {options.simulations} releases whose 95 % interval holds the right threshold",
        ("reference", "n", "keeps", *(f"{one:g}" for one in GRID), "width, 0.8"),
        map(_interval_row, intervals),
    )
    show(
        f"Coverage of sets asked for {COVERAGE:g}, ± two standard errors",
        ("reference", "n", "sets", "coverage", "cost of one split", "size"),
        map(_coverage_row, coverages),
    )
    body = {"simulations": options.simulations, "intervals": intervals, "coverages": coverages}
    write(options, schema=SCHEMA, before=before, body=body)


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--simulations", type=int, default=None, help="releases per row (default: 500)"
    )
    options = parser.parse_args()
    if options.simulations is None:
        options.simulations = 20 if options.quick else 500
    return options


def _interval_row(row: dict[str, Any]) -> tuple[object, ...]:
    held = (f"{one:.1%}" for one in row["held"])
    return row["reference"], row["n"], row["keeps"], *held, f"{row['width'][GRID.index(0.8)]:.3f}"


def _coverage_row(row: dict[str, Any]) -> tuple[object, ...]:
    pair = (f"{row[key]:.4f} ± {row[key + '_error']:.4f}" for key in ("coverage", "cost"))
    return row["reference"], row["n"], row["method"], *pair, f"{row['mean_size']:.2f}"


def _intervals(
    drawn: Population, sizes: tuple[int, ...], simulations: int
) -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(1)
    noisy = drawn.logits + random.normal(0.0, NOISE, drawn.logits.shape)
    variant = softmax(SHARPER * noisy)
    truth = transfer_thresholds(drawn.probabilities, variant, drawn.labels, grid=GRID)
    for n in sizes:
        held = {keep: np.zeros(len(GRID)) for keep in KEEPS}
        width = {keep: np.zeros(len(GRID)) for keep in KEEPS}
        for _ in range(simulations):
            rows = random.integers(0, len(drawn.labels), n)
            table = transfer_thresholds(
                drawn.probabilities[rows], variant[rows], drawn.labels[rows], grid=GRID
            )
            for keep in KEEPS:
                found: KeptThresholds = getattr(table, keep)
                right: KeptThresholds = getattr(truth, keep)
                low, high, wanted = (
                    np.array(column, np.float64)
                    for column in (found.low, found.high, right.threshold)
                )
                # No threshold was found there: that is counted as one that does not hold.
                held[keep] += (low <= wanted) & (wanted <= high)
                width[keep] += np.nan_to_num(high - low, nan=1.0)
        for keep in KEEPS:
            yield {
                "reference": drawn.name,
                "n": n,
                "keeps": keep,
                "held": (held[keep] / simulations).tolist(),
                "width": (width[keep] / simulations).tolist(),
            }


def _coverages(
    drawn: Population, sizes: tuple[int, ...], simulations: int
) -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(2)
    everyone = np.arange(len(drawn.labels))
    for n in sizes:
        found: dict[tuple[Method, str], list[float]] = {
            (method, key): [] for method in METHODS for key in ("same", "others")
        }
        sizes_of: dict[Method, list[float]] = {method: [] for method in METHODS}
        for _ in range(simulations):
            calib, others = (random.integers(0, len(everyone), n) for _ in range(2))
            test = random.integers(0, len(everyone), 2000)
            for key, fitted_on in (("same", calib), ("others", others)):
                t = fit_temperature(drawn.logits[fitted_on], drawn.labels[fitted_on])
                fit = fit_conformal(
                    softmax(drawn.logits[calib] / t), drawn.labels[calib], coverages=(COVERAGE,)
                )
                answers = softmax(drawn.logits[test] / t)
                for method in METHODS:
                    inside = label_sets(answers, getattr(fit, method)[0], method)
                    hit = inside[np.arange(len(test)), drawn.labels[test]]
                    found[method, key].append(float(hit.mean()))
                    if key == "same":
                        sizes_of[method].append(float(inside.sum(axis=1).mean()))
        for method in METHODS:
            same, other = (np.array(found[method, key]) for key in ("same", "others"))
            row: dict[str, Any] = {"reference": drawn.name, "n": n, "method": method}
            # On the same images, so that only the temperature differs.
            for key, values in (("coverage", same), ("cost", other - same)):
                row[key] = float(values.mean())
                row[f"{key}_error"] = float(2 * values.std() / math.sqrt(len(values)))
            yield row | {"mean_size": float(np.mean(sizes_of[method]))}


if __name__ == "__main__":
    main()
