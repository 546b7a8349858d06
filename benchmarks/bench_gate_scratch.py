"""What does the gate cost beyond the inferences that it judges?

A trained ResNet is released up to the bench; then, pair by pair and in random order, the gate is
run from nothing (`edgetl gate`, a process of its own with all imports, which asks the reference
and every candidate, chooses, judges and writes), and the same inferences are made in a bare loop:
each input prepared once, then each model asked for every batch. Loading the models is not counted
as inference. The aim is 1.1 at most.

    python benchmarks/bench_gate_scratch.py --out gate-scratch.json
    python benchmarks/bench_gate_scratch.py --out gate-scratch.json --pairs 3 --weights FILE
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from bench_overhead import add_release_options, edgetl_command, shrink, timed, write_config
from outcome import note, parser_of, show, times, write

from edgetl.backends.base import Backend
from edgetl.bench.compare import ratio
from edgetl.bench.machine import activity
from edgetl.data.store import SplitPart
from edgetl.pipeline.config import load_config
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.events import Reporter
from edgetl.pipeline.kept_inputs import KeptInputs
from edgetl.pipeline.run_folder import RunFolder

MOST = 1.1


def main() -> None:
    """Measure every pair, print the ratio, write the file."""
    options = _options()
    before = activity()
    with tempfile.TemporaryDirectory() as folder:
        body = measure(options, Path(folder))
    write(options, schema="edgetl.gate-scratch-bench/1", before=before, body=body)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Wall seconds of both sides, pair by pair, and their ratio."""
    config, values = write_config(options, folder)
    run = folder / "run"
    # Everything before the gate, and files that are in the page cache from here on.
    timed(edgetl_command("gate", config, run))
    context = StageContext(
        config=load_config(config),
        folder=RunFolder(run),
        reporter=Reporter("bench", lambda _: None),
        scratch=folder,
    )
    winners = tuple(json.loads((run / "gate" / "selection.json").read_bytes())["winners"].values())
    sides = {
        "gate": lambda: _gate(edgetl_command("gate", config, run), run),
        "inference": lambda: _inferences(context, winners, folder),
    }
    order = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for pair in range(options.pairs):
        for position in order.permutation(len(sides)):
            name = list(sides)[position]
            seconds[name].append(sides[name]())
            note(f"pair {pair + 1}, {name}: {seconds[name][-1]:.1f} s")
    found = ratio(*(np.array(seconds[name])[:, None] for name in ("gate", "inference")))
    show(
        f"the gate over its inferences, {options.pairs} pairs, aim {MOST:g} [95 % interval]",
        ("", "ratio"),
        [("wall time", times(found))],
    )
    return {
        "settings": {name: str(value) for name, value in values.items() if name != "weights"},
        "winners": list(winners),
        "most": MOST,
        "ratio": asdict(found),
        "seconds": seconds,
    }


def _gate(command: list[str], run: Path) -> float:
    shutil.rmtree(run / "gate")
    return timed(command)["seconds"]


def _inferences(context: StageContext, winners: tuple[str, ...], folder: Path) -> float:
    """Seconds of what the gate asks: all on val, the winners on calib too, and all that on test.

    The reference's answers to calib are known from the calibrate stage.
    """
    store = context.splits
    kept = KeptInputs(context.input)
    val, calib = store.load("val"), store.load("calib")
    # The openings that count are recorded in the run's own folder.
    test = type(store)(context.folder.stage("data"), openings=folder / "openings.json").open_test(
        stage="gate", winners=dict.fromkeys(winners or ("none",), ""), reference="", policy=""
    )
    with context.reference() as reference:
        total = _asked(reference, (val, test) if winners else (val,), kept)
    for name in context.config.compile.variants:
        with context.variant(context.candidate(name)) as backend:
            total += _asked(backend, (val, test, calib) if name in winners else (val,), kept)
    return total


def _asked(backend: Backend, parts: Iterable[SplitPart], kept: KeptInputs) -> float:
    began = time.perf_counter()
    for part in parts:
        for inputs in kept.batches(part):
            backend.run(inputs)
    return time.perf_counter() - began


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--pairs", type=int, default=4)
    add_release_options(parser)
    options = parser.parse_args()
    if options.quick:
        options.pairs = 2
        shrink(options)
    return options


if __name__ == "__main__":
    main()
