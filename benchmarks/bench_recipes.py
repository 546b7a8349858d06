"""Which recipe of transfer learning helps, on which problem, from how many images?

A small residual network learns a source first; then each recipe trains it on a few images of the
target (`recipe_problems.py` says which), beside a network that starts at random. For five seeds,
5, 20 and 100 images a class: top-1, NLL and ECE on test images, and the paired difference of top-1
from training from scratch, and from full fine-tuning, with its t interval over the seeds.

What makes the comparison fair: all recipes have the same images, the same 100 steps of 40 images,
the same augmentation and the same validation images, by whose NLL the epoch is kept. Learning
rates, and weights of terms, are chosen for each recipe on the validation images of a seed of its
own, at 20 images a class, from the candidates in `recipe_list.py`, and kept for all sizes. (The
digits are so few that this seed's validation images are in other seeds' test sets.) The rows "4 x
the steps" say what a longer training from scratch makes of the same images.

    python benchmarks/bench_recipes.py --out recipes.json --markdown docs/recipes.md
    python benchmarks/bench_recipes.py --out tried.json --only full --only L2-SP --seeds 2
    python benchmarks/bench_recipes.py --out recipes.json --summary --markdown docs/recipes.md

Every finished cell is a line of the log beside --out; the same command goes on where it was
stopped. One core is enough: OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outcome import note, parser_of, show, write
from recipe_cells import Cell, Place, run_cell
from recipe_list import FULL_NAME, RECIPES, SHOTS, Recipe, compared_with
from recipe_problems import FASHION, PROBLEMS, QUICK, Sizes
from recipe_table import markdown, points, put, summary

from edgetl.bench.machine import activity
from edgetl.pipeline.pretrain import cache_folder

TUNING_SEED = 1_000
TUNING_SHOTS = 20
# Seed 0 was looked at while networks, sources and steps were being chosen: it proves nothing.
FIRST_SEED = 1


def main() -> int:
    """Train what the log lacks, sum up, write."""
    options = _options()
    before = activity()
    log = _Log(options.log or options.out.with_suffix(".cells.jsonl"))
    if not options.summary:
        # Every training ends in a collection, which otherwise walks all that torch has imported.
        gc.freeze()
        try:
            _run(options, log)
        finally:
            gc.unfreeze()
    rows = log.rows("cell")
    names = [recipe.name for recipe in RECIPES]
    found = summary(rows, compared_with=compared_with, order=names)
    _show(found)
    write(
        options,
        schema="edgetl.recipes/1",
        before=before,
        body={"summary": found, "tuning": log.rows("tuning"), "cells": rows},
    )
    if options.markdown is not None:
        put(options.markdown, markdown(found))
        print(f"table written to {options.markdown}")
    return 0


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--log", type=Path, metavar="FILE.jsonl", help="beside --out")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keeps source networks")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="(5)")
    parser.add_argument("--only", action="append", metavar="RECIPE", help="and from scratch")
    parser.add_argument("--problem", action="append", choices=PROBLEMS, metavar="PROBLEM")
    parser.add_argument("--shots", type=int, action="append", choices=SHOTS, metavar="N")
    parser.add_argument("--fashion", default=FASHION, metavar="SOURCE")
    parser.add_argument("--summary", action="store_true", help="only sum up the log")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the table there")
    options = parser.parse_args()
    known = [recipe.name for recipe in RECIPES]
    unknown = sorted(set(options.only or ()) - set(known))
    if unknown:
        parser.error(f"no recipe {unknown[0]!r}; there are: {', '.join(known)}")
    if options.quick:
        options.seeds = min(options.seeds, 2)
    options.work = options.work or cache_folder() / "bench-recipes"
    return options


@dataclass
class _Log:
    """One JSON line for every finished training."""

    path: Path

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Those of a kind; a line that a kill cut short is done again."""
        return [row for row in self._all() if row["kind"] == kind]

    def find(self, digest: str) -> dict[str, Any] | None:
        return next((row for row in self._all() if row["digest"] == digest), None)

    def add(self, row: dict[str, Any]) -> None:
        with self.path.open("a+b") as stream:
            if stream.tell():
                stream.seek(-1, 2)
                if stream.read(1) != b"\n":
                    stream.write(b"\n")
            stream.write(json.dumps(row).encode() + b"\n")

    def _all(self) -> Iterator[dict[str, Any]]:
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                continue


def _run(options: argparse.Namespace, log: _Log) -> None:
    place = Place(
        work=options.work,
        sizes=QUICK if options.quick else Sizes(),
        fashion=options.fashion,
        hurry=8 if options.quick else 1,
    )
    place.work.mkdir(parents=True, exist_ok=True)
    log.path.parent.mkdir(parents=True, exist_ok=True)
    named = {other for name in options.only or () for other in (name, compared_with(name)[0])}
    wanted = [recipe for recipe in RECIPES if not named or recipe.name in named]
    bench = _Bench(place, log, quick=options.quick)
    problems = options.problem or PROBLEMS
    # The size that rates were chosen at first: a run that is stopped has all seeds of it.
    shots = sorted(options.shots or SHOTS, key=lambda n: (n != TUNING_SHOTS, n))
    asked = [
        (problem, n, seed, recipe)
        for n in shots
        for seed in range(FIRST_SEED, FIRST_SEED + options.seeds)
        for problem in problems
        for recipe in wanted
        if n in recipe.shots
    ]
    began, trained = time.monotonic(), 0
    for done, (problem, n, seed, recipe) in enumerate(asked, start=1):
        row, fresh = bench.cell(problem, n, seed, recipe)
        trained += fresh
        spent = time.monotonic() - began
        left = (len(asked) - done) * spent / max(1, trained) / 60
        note(
            f"{done}/{len(asked)} {problem}, {n} a class, seed {seed}, {recipe.name}: "
            f"top-1 {row['top1']:.4f}, NLL {row['nll']:.3f}; about {left:.0f} min left"
        )


class _Bench:
    """Cells with the settings that were chosen for their recipe."""

    def __init__(self, place: Place, log: _Log, *, quick: bool) -> None:
        self._place, self._log, self._quick = place, log, quick

    def cell(self, problem: str, shots: int, seed: int, recipe: Recipe) -> tuple[Any, bool]:
        """The stored row of a cell, and whether it was trained now."""
        cell = self._cell(problem, shots, seed, recipe)
        return self._once("cell", cell)

    def _cell(self, problem: str, shots: int, seed: int, recipe: Recipe) -> Cell:
        return Cell(
            problem=problem,
            shots=shots,
            seed=seed,
            recipe=recipe,
            chosen=self._chosen(problem, recipe),
        )

    def _once(self, kind: str, cell: Cell) -> tuple[dict[str, Any], bool]:
        digest = f"{kind}-{cell.digest(self._place)}"
        stored = self._log.find(digest)
        if stored is not None:
            return stored, False
        full = next(recipe for recipe in RECIPES if recipe.name == FULL_NAME)
        teaches = cell.recipe.terms is not None and cell.recipe.start == "none"
        teacher = self._cell(cell.problem, cell.shots, cell.seed, full) if teaches else None
        figures = run_cell(cell, self._place, teacher=teacher)
        row = {
            "kind": kind,
            "digest": digest,
            "problem": cell.problem,
            "shots": cell.shots,
            "seed": cell.seed,
            "recipe": cell.recipe.name,
            "chosen": dict(cell.chosen),
            **figures,
        }
        self._log.add(row)
        return row, True

    def _chosen(self, problem: str, recipe: Recipe) -> dict[str, float]:
        """Of the recipe's candidates the one with the lowest NLL on val of the tuning seed."""
        tried = recipe.tried[:1] if self._quick else recipe.tried
        if len(tried) == 1:
            return dict(tried[0])
        rows = []
        for settings in tried:
            cell = Cell(
                problem=problem,
                shots=TUNING_SHOTS,
                seed=TUNING_SEED,
                recipe=recipe,
                chosen=dict(settings),
            )
            row, fresh = self._once("tuning", cell)
            if fresh:
                note(f"tuning {problem}, {recipe.name}, {dict(settings)}: {row['val_nll']:.4f}")
            rows.append(row)
        best = min(rows, key=lambda row: row["val_nll"])
        return dict(best["chosen"])


def _show(found: Sequence[dict[str, Any]]) -> None:
    for problem, shots in _groups(found):
        rows = [row for row in found if (row["problem"], row["shots"]) == (problem, shots)]
        show(
            f"{problem}, {shots} images a class",
            ("recipe", "top-1 %", "NLL", "ECE", "points over scratch", "points over full"),
            [
                (
                    row["recipe"],
                    f"{100 * row['top1']['mean']:.1f}",
                    f"{row['nll']['mean']:.3f}",
                    f"{row['ece']['mean']:.3f}",
                    points(row["over_scratch"]),
                    points(row["over_full"]),
                )
                for row in rows
            ],
        )


def _groups(found: Iterable[dict[str, Any]]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((row["problem"], row["shots"]) for row in found))


if __name__ == "__main__":
    sys.exit(main())
