"""How much faster than PyTorch is each candidate, for which network, batch and thread count?

For every architecture, batch size and number of threads, PyTorch eager and the candidates are
measured in one interleaved run: each round has a block of calls of every side, in random order.
Printed are speed-ups over PyTorch (its faster memory layout) and over the fastest FP32 backend of
the same run, with their 95 % intervals; an absolute time of a shared machine says little.

The networks have random weights, with batch statistics settled on real images: latency depends on
layers and sizes, not on what was learnt. Their accuracy is nothing to speak of, and not spoken of.

    python benchmarks/bench_matrix.py --out matrix.json
    python benchmarks/bench_matrix.py --out matrix.json --architectures resnet18 --size 224
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from outcome import note, parser_of, show, times, write
from random_network import CANDIDATE_IDS, MadeNetwork, make_network, real_inputs

from edgetl.bench.compare import Ratio, precise_to, ratio
from edgetl.bench.machine import activity, usable_cores
from edgetl.bench.measure import Block, Samples, in_process, interleave
from edgetl.bench.result import Control, Run, result_of
from edgetl.pipeline.candidates import CANDIDATES
from edgetl.reference.client import ReferenceBackend
from edgetl.spec import Precision

ARCHITECTURES = ("resnet18", "mobilenet_v3_small", "efficientnet_b0")
PYTORCH = "pytorch"


def main() -> None:
    """Measure every cell, print the table, write the file."""
    options = _options()
    before = activity()
    rows: list[dict[str, Any]] = []
    networks = {}
    settled: dict[str, bool] = {}
    for architecture in options.architectures:
        with tempfile.TemporaryDirectory() as folder:
            note(f"{architecture}: making the candidates")
            made = make_network(
                Path(folder),
                architecture=architecture,
                size=options.size,
                source=options.data,
                candidates=options.candidates,
            )
            networks[architecture] = {
                "probability_difference_of_export": made.worst_difference,
                "probability_spread": made.spread,
            }
            for batch in options.batches:
                for threads in options.threads:
                    samples, found = _cell(options, architecture, made, batch, threads)
                    rows += found
                    settled |= {
                        f"{architecture}/{side} (batch {batch}, {threads} threads)": still
                        for side, still in samples.settled.items()
                    }
    _show(rows, options)
    write(
        options,
        schema="edgetl.matrix/1",
        before=before,
        settled=settled,
        body={
            "weights": "random, batch statistics settled on 256 real images",
            "size": options.size,
            "data": options.data,
            "networks": networks,
            "rows": rows,
        },
    )


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES), metavar="NAME")
    parser.add_argument(
        "--candidates", nargs="+", default=list(CANDIDATE_IDS), choices=list(CANDIDATES)
    )
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8], metavar="N")
    every = sorted({1, usable_cores()})
    parser.add_argument("--threads", nargs="+", type=int, default=every, metavar="N")
    parser.add_argument("--size", type=int, default=96, help="pixels of a side (96)")
    parser.add_argument("--data", default="builtin:digits", help="where real images are from")
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=120.0, help="at most, for one cell (120)")
    options = parser.parse_args()
    if options.quick:
        options.architectures, options.size = options.architectures[:1], 32
        options.batches, options.threads = [1], [1]
        options.rounds, options.calls, options.seconds = 4, 5, 3.0
    return options


def _cell(
    options: argparse.Namespace, architecture: str, made: MadeNetwork, batch: int, threads: int
) -> tuple[Samples, list[dict[str, Any]]]:
    """One interleaved run: the samples, and a row a candidate."""
    inputs = real_inputs(options.data, made.input, batch)
    with ExitStack() as stack:
        reference = stack.enter_context(ReferenceBackend(made.folder, threads=threads))
        sides: dict[str, Block] = {PYTORCH: partial(reference.time_block, inputs)}
        for name in options.candidates:
            backend = stack.enter_context(closing(made.load(name, threads=threads)))
            sides[name] = in_process(backend.run, inputs)
        samples = interleave(
            sides,
            calls=options.calls,
            min_rounds=options.rounds,
            max_seconds=options.seconds,
            control=PYTORCH,
            enough=precise_to(PYTORCH),
        )
        layout = reference.facts()["timed_layout"]
    note(f"{architecture}, batch {batch}, {threads} threads: {samples.rounds} rounds")
    run = Run(samples=samples, batch=batch, threads=threads, reference=PYTORCH, control_of=PYTORCH)
    result = result_of([run], machine={})
    base = _fastest_fp32(options.candidates, result.cells)
    rows = []
    for cell in result.cells:
        if cell.variant == PYTORCH:
            continue
        over_fp32 = ratio(samples[cell.variant], samples[base]) if base else None
        rows.append(
            {
                "architecture": architecture,
                "candidate": cell.variant,
                "batch": batch,
                "threads": threads,
                "speed_over_pytorch": _speed(cell.ratio_to_reference),
                "speed_over_fp32": None if cell.variant == base else _speed(over_fp32),
                "fastest_fp32": base,
                "pytorch_layout": layout,
                "rounds": cell.rounds,
                "calls": cell.calls,
                "control": _control(result.control),
            }
        )
    return samples, rows


def _fastest_fp32(candidates: list[str], cells: Any) -> str | None:
    fp32 = [name for name in candidates if CANDIDATES[name].precision is Precision.FP32]
    found = {cell.variant: cell.p50_ms for cell in cells if cell.variant in fp32}
    return min(found, key=lambda name: found[name]) if found else None


def _speed(found: Ratio | None) -> dict[str, float] | None:
    return None if found is None else asdict(found.inverse())


def _control(control: Control | None) -> dict[str, Any] | None:
    return None if control is None else asdict(control)


def _show(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    def text(found: dict[str, float] | None) -> str:
        return times(None if found is None else Ratio(**found))

    show(
        f"times faster, {options.size} × {options.size}, [95 % interval]",
        ("network", "candidate", "batch", "threads", "than PyTorch", "than the best FP32"),
        (
            (
                row["architecture"],
                row["candidate"],
                row["batch"],
                row["threads"],
                text(row["speed_over_pytorch"]),
                text(row["speed_over_fp32"]) if row["speed_over_fp32"] else "is the best FP32",
            )
            for row in rows
        ),
    )
    equal = sum(row["control"]["equivalent"] for row in rows)
    print(f"PyTorch against itself was within 5 % in the runs of {equal} of {len(rows)} rows")


if __name__ == "__main__":
    main()
