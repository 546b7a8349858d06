"""Does the latency harness give the same answer again, on a machine that is busy?

A chain of equal convolutions on ONNX Runtime is compared with itself (loaded twice) and with a
chain that has 7 % and 15 % more of the same layers, again and again, each time in a process of its
own, while whatever else the machine does goes on. edgetl's rule at a margin of 5 % is asked every
time: the one-sided 95 % bounds of the ratio from interleaved rounds. It should never say FAIL of
equals, PASS at least 90 % of them, FAIL at least 95 % of the 15 % slowdowns and PASS none of
them, and PASS at most 5 % of the 7 % ones.

Beside it, for contrast, what one would do without a harness: warm up, time one side, then the
other, compare the medians with the margin. Once with 40 calls a side; for equals also with as
many calls as the interleaved run had.

    python benchmarks/bench_harness_repeatability.py --log repeatability.jsonl --disturb 3
    python benchmarks/bench_harness_repeatability.py --log repeatability.jsonl --out result.json

Every finished comparison is a line of the log. The same command goes on where it was stopped;
with all lines there it only sums up, and `--summary` sums up what is there. `--disturb` makes
the noise where nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from outcome import note, parser_of, show, write

from edgetl.backends import registry
from edgetl.backends.base import Backend
from edgetl.bench.compare import block_medians, precise_to, ratio
from edgetl.bench.machine import activity, shares
from edgetl.bench.measure import Block, in_process, interleave
from edgetl.spec import Precision, Variant
from edgetl.stats import clopper_pearson

MARGIN = 0.05
CONFIDENCE = 0.90
"""Two-sided: each bound is at 95 %, as the gate's are."""

LAYERS, CHANNELS, SIDE = 100, 8, 28
NAIVE_CALLS = 40
_ENDING_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A slowdown that is injected, and how often each answer may be given.

    Attributes:
        name: In the log.
        layers: Of the slower chain; the other has 100.
        least, most: Answer -> the share of comparisons that have, or may have, it.
    """

    name: str
    layers: int
    least: dict[str, float]
    most: dict[str, float]


KINDS = (
    Kind(name="equal", layers=LAYERS, least={"PASS": 0.90}, most={"FAIL": 0.0}),
    Kind(name="slower by 15 %", layers=115, least={"FAIL": 0.95}, most={"PASS": 0.0}),
    Kind(name="slower by 7 %", layers=107, least={}, most={"PASS": 0.05}),
)


def main() -> int:
    """Make the comparisons that the log lacks, then sum up; 1 when a promise is not kept."""
    options = _options()
    before = activity()
    if not options.summary:
        with _disturbed(options.disturb):
            for done, row in enumerate(_missing(options)):
                _append(options.log, row)
                note(_line(row, done))
    rows = _rows(options.log)[: options.count * len(KINDS)]
    summary = [_summary(kind, [row for row in rows if row["kind"] == kind.name]) for kind in KINDS]
    _show(summary, rows)
    if options.out is not None:
        write(
            options,
            schema="edgetl.repeatability/1",
            before=before,
            body={"margin": MARGIN, "confidence": CONFIDENCE, "summary": summary, "rows": rows},
        )
    # One comparison of each kind shows that the script works, and nothing about the harness.
    return 0 if options.quick or all(one["kept"] for one in summary) else 1


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__, out_required=False)
    parser.add_argument("--log", type=Path, required=True, metavar="FILE.jsonl")
    parser.add_argument("--count", type=int, default=60, help="comparisons of each kind (60)")
    parser.add_argument("--seconds", type=float, default=40.0, help="the most for each (40)")
    parser.add_argument("--threads", type=int, default=1, help="of a call (1)")
    parser.add_argument("--calls", type=int, default=40, help="kept in a block (40)")
    parser.add_argument("--settle", type=int, default=5, help="at its head, not kept (5)")
    parser.add_argument(
        "--disturb",
        type=int,
        default=0,
        metavar="N",
        help="processes that work and rest at random, where nothing else makes noise (0)",
    )
    parser.add_argument("--summary", action="store_true", help="only sum up the log")
    options = parser.parse_args()
    if options.quick:
        options.count, options.seconds = 1, 3.0
    return options


def _rows(log: Path) -> list[dict[str, Any]]:
    """Every finished comparison; a line that was cut short by a kill is done again."""
    if not log.is_file():
        return []
    rows = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def _append(log: Path, row: dict[str, Any]) -> None:
    with log.open("a+b") as stream:
        # After a line that was cut short, a new one.
        if stream.tell() > 0:
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        stream.write(json.dumps(row).encode() + b"\n")


@contextmanager
def _disturbed(count: int) -> Iterator[None]:
    context = get_context("spawn")
    processes = [
        context.Process(target=_disturb, args=(seed,), daemon=True) for seed in range(count)
    ]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _disturb(seed: int) -> None:
    """Work and rest for 5 to 500 ms each, in turn, until ended."""
    random = np.random.default_rng(seed)
    while True:
        work, rest = 10 ** random.uniform(-2.3, -0.3, 2)
        until = time.monotonic() + work
        while time.monotonic() < until:
            random.random(1000).sort()
        time.sleep(rest)


def _missing(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What the log lacks, the kinds in turn: a log that was cut short has as many of each."""
    done = {(row["kind"], row["index"]) for row in _rows(options.log)}
    for index in range(options.count):
        for kind in KINDS:
            if (kind.name, index) in done:
                continue
            task = {
                "kind": kind.name,
                "layers": kind.layers,
                "index": index,
                "seconds": options.seconds,
                "threads": options.threads,
                "calls": options.calls,
                "settle": options.settle,
                "began": time.monotonic(),
            }
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                yield pool.submit(_compare, task).result()


def _compare(task: dict[str, Any]) -> dict[str, Any]:
    """One comparison, in this process alone."""
    # Counted from the parent's clock, which on Linux is the machine's: starting counts as well.
    began = task.pop("began")
    before = activity()
    first, second = chain(LAYERS), chain(task["layers"])
    with ExitStack() as stack:
        sides = {
            name: _side(stack.enter_context(closing(_load(model, task["threads"]))))
            for name, model in (("reference", first), ("candidate", second))
        }
        samples = interleave(
            sides,
            calls=task["calls"],
            settle=task["settle"],
            max_seconds=max(1.0, task["seconds"] - _ENDING_SECONDS - (time.monotonic() - began)),
            seed=task["index"],
            enough=precise_to("reference", MARGIN / 2),
        )
        elapsed = time.monotonic() - began
        after = activity()
        candidate, reference = samples["candidate"], samples["reference"]
        found = ratio(candidate, reference, CONFIDENCE)
        wide = ratio(candidate, reference)
        return {
            **task,
            "outcome": found.outcome(MARGIN),
            **asdict(found),
            "precise": bool(np.log(wide.upper / wide.lower) / 2 <= MARGIN / 2),
            "rounds": samples.rounds,
            "settled": all(samples.settled.values()),
            "elapsed_seconds": elapsed,
            "p50_ms": float(np.median(reference)) * 1e3,
            "p90_ratio": asdict(ratio(candidate, reference, CONFIDENCE, quantile=0.9)),
            "block_spread": float(np.log(block_medians(reference)).std(ddof=1)),
            "naive_calls": _naive(sides, NAIVE_CALLS),
            "naive_time": _naive(sides, samples.rounds * samples.calls)
            if task["layers"] == LAYERS
            else None,
            **shares(before, after),
            "load_1m": after.load_1m,
        }


def _naive(sides: dict[str, Block], calls: int) -> float:
    """One side after the other: the ratio of their medians."""
    medians = {name: float(np.median(block(calls))) for name, block in sides.items()}
    return medians["candidate"] / medians["reference"]


# The work


def chain(layers: int) -> bytes:
    """A classifier of so many equal 3 × 3 convolutions, as an ONNX file.

    Every layer costs the same, so a chain with 7 % more of them is slower by 7 %, a little less
    for what a call costs besides. Random weights, the same for every length.
    """
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    spread = np.sqrt(2 / (CHANNELS * 9))
    nodes, weights, before = [], [], "image"
    for layer in range(layers):
        kernel = random.normal(0, spread, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{layer}"))
        nodes.append(
            helper.make_node("Conv", [before, f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1])
        )
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        before = f"r{layer}"
    nodes += [
        helper.make_node("GlobalAveragePool", [before], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "chain",
        [
            helper.make_tensor_value_info(
                "image", TensorProto.FLOAT, ["batch", CHANNELS, SIDE, SIDE]
            )
        ],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", CHANNELS])],
        weights,
    )
    opset = helper.make_opsetid("", 20)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString())


def _load(model: bytes, threads: int) -> Backend:
    variant = Variant(
        id="chain", backend="onnxruntime", precision=Precision.FP32, files=("chain.onnx",)
    )
    return registry.load(variant, {"chain.onnx": model}, threads=threads)


def _side(backend: Backend) -> Block:
    image = np.random.default_rng(1).normal(size=(1, CHANNELS, SIDE, SIDE)).astype(np.float32)
    return in_process(backend.run, {"image": image})


# The summary


def _naive_outcome(found: float) -> str:
    return "PASS" if found < 1 + MARGIN else "FAIL"


def _summary(kind: Kind, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    answers = [row["outcome"] for row in rows]
    truth = kind.layers / LAYERS

    def counts(names: Sequence[str]) -> dict[str, int]:
        return {name: names.count(name) for name in ("PASS", "FAIL", "INCONCLUSIVE")}

    def worst(key: str) -> float | None:
        errors = [abs(row[key] / truth - 1) for row in rows if row[key] is not None]
        return max(errors, default=None)

    found = counts(answers)
    share = {name: count / max(len(rows), 1) for name, count in found.items()}
    kept = all(share[name] >= least for name, least in kind.least.items())
    kept &= all(share[name] <= most for name, most in kind.most.items())
    naive = {
        key: counts([_naive_outcome(row[key]) for row in rows if row[key] is not None])
        for key in ("naive_calls", "naive_time")
    }
    return {
        "kind": kind.name,
        "comparisons": len(rows),
        "least": kind.least,
        "most": kind.most,
        "kept": bool(rows) and kept,
        "interleaved": found,
        **naive,
        "intervals": {
            name: clopper_pearson(count, len(rows), confidence=0.95)
            for name, count in found.items()
        }
        if rows
        else {},
        "worst_error": worst("estimate"),
        "worst_error_naive_calls": worst("naive_calls"),
        "worst_error_naive_time": worst("naive_time"),
        "median_seconds": float(np.median([row["elapsed_seconds"] for row in rows] or [0])),
        "max_seconds": max((row["elapsed_seconds"] for row in rows), default=0.0),
    }


def _show(summary: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> None:
    methods = (
        ("interleaved", "interleaved", "worst_error"),
        ("40 calls each", "naive_calls", "worst_error_naive_calls"),
        ("as many calls", "naive_time", "worst_error_naive_time"),
    )
    show(
        f"Answers at a margin of {MARGIN:.0%}",
        ("truth", "method", "n", "PASS", "FAIL", "INCONCLUSIVE", "worst error", "promise"),
        [
            (
                one["kind"] if method == "interleaved" else "",
                label,
                sum(one[method].values()),
                *(one[method][name] for name in ("PASS", "FAIL", "INCONCLUSIVE")),
                f"{one[worst]:.1%}",
                ("kept" if one["kept"] else "NOT KEPT") if method == "interleaved" else "",
            )
            for one in summary
            for label, method, worst in methods
            if one[worst] is not None
        ],
    )
    if rows:
        others = np.array([row["others_share"] for row in rows])
        seconds = np.array([row["elapsed_seconds"] for row in rows])
        steal = max(row["steal_share"] for row in rows)
        print(
            f"{os.cpu_count()} cores; other processes used {others.min():.0%} to "
            f"{others.max():.0%} of their time (median {np.median(others):.0%}),\n"
            f"the hypervisor took up to {steal:.0%}\n"
            f"a comparison took {np.median(seconds):.0f} s (median), {seconds.max():.0f} s at "
            f"most; a call {rows[0]['p50_ms']:.2f} ms"
        )


def _line(row: dict[str, Any], done: int) -> str:
    return (
        f"{done + 1}: {row['kind']} #{row['index']}: {row['outcome']} {row['estimate']:.3f} "
        f"[{row['lower']:.3f}, {row['upper']:.3f}], {row['rounds']} rounds in "
        f"{row['elapsed_seconds']:.0f} s, others {row['others_share']:.0%}; one after the other "
        f"{row['naive_calls']:.3f}" + (f", {row['naive_time']:.3f}" if row["naive_time"] else "")
    )


if __name__ == "__main__":
    sys.exit(main())
