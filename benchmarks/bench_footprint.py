"""What does a classifier cost before and beside its latency: start, memory, size, imports?

Every figure is taken in a fresh process, and the processes of all sides are interleaved: each
round starts every side once, in random order. Told are medians with the range of the rounds, and
the ratio of cold starts to PyTorch's with its 95 % interval; read the ratios and the memory, for
times are those of this machine on that day.

A cold start is from starting Python to the first answer to a real image: the interpreter, the
imports, for a bundle the check of every byte, loading, and the first call. Files are in the page
cache, as they are on a device that uses them often. Memory is read from /proc, so on Linux only.

Without --bundle, candidates are made of a network with random weights (costs do not depend on
them), packed, and compared with the same network in PyTorch.

    python benchmarks/bench_footprint.py --out footprint.json
    python benchmarks/bench_footprint.py --out footprint.json --bundle digits-1.0.0.edgetl
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from outcome import note, parser_of, show, times, write
from random_network import CANDIDATE_IDS, make_network, pack, real_inputs

from edgetl.bench.compare import Ratio, ratio
from edgetl.bench.footprint import measure_footprint
from edgetl.bench.machine import activity
from edgetl.bundle import open_bundle
from edgetl.errors import UsageError
from edgetl.spec import Array, ClassifierInput

MODULES = ("sys", "numpy", "edgetl", "onnxruntime", "openvino", "torch")
PYTORCH = "pytorch"

Figures = dict[str, float]

# Each prints one line when its answer is there; the parent's clock ran since it was started.
ANSWER_BUNDLE = """
import sys
import numpy as np
from edgetl import Classifier
x = np.load(sys.argv[1])
with Classifier.load(sys.argv[2], variant=sys.argv[3], threads=int(sys.argv[4])) as classifier:
    classifier.predict(x)
    print("answered", flush=True)
"""
ANSWER_PYTORCH = """
import sys
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(int(sys.argv[3]))
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.network import Reference
from edgetl.data.preprocess import to_batch
x = np.load(sys.argv[1])
network, description = load_classifier(Path(sys.argv[2]))
reference = Reference(network, description.input).eval()
with torch.inference_mode():
    reference(torch.from_numpy(to_batch(x[None], description.input)))
print("answered", flush=True)
"""
# Without an import: numpy alone would add its memory to what is reported.
REPORT = """
with open("/proc/self/status") as status:
    print(next(int(line.split()[1]) / 2**10 for line in status if line.startswith("VmHWM:")))
"""
IMPORT = """
import sys, time
start = time.perf_counter()
__import__(sys.argv[1])
seconds = time.perf_counter() - start
print("answered", flush=True)
print(seconds * 1e3)
"""


def main() -> None:
    """Measure every side in every round, print the tables, write the file."""
    options = _options()
    before = activity()
    with tempfile.TemporaryDirectory() as folder:
        sides, sizes = _sides(options, Path(folder))
        rounds = _interleaved(sides, options.rounds)
    figures = {
        side: {name: np.array([one[name] for one in found]) for name in found[0]}
        for side, found in rounds.items()
    }
    ratios = _cold_start_ratios(figures)
    rows = [
        {
            "side": side,
            "size_mb": sizes.get(side),
            "cold_start_over_pytorch": asdict(ratios[side]) if side in ratios else None,
            **{name: _summary(values) for name, values in found.items()},
        }
        for side, found in figures.items()
    ]
    _show(rows)
    missing = [name for name in MODULES if find_spec(name) is None]
    if missing:
        print(f"not installed here, so not measured: {', '.join(missing)}")
    write(
        options,
        schema="edgetl.footprint/1",
        before=before,
        body={
            "threads": options.threads,
            "rounds": options.rounds,
            "not_installed": missing,
            "rows": rows,
            "samples": {
                side: {name: values.tolist() for name, values in found.items()}
                for side, found in figures.items()
            },
        },
    )


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--bundle", type=Path, help="a bundle's folder; all its variants")
    parser.add_argument("--reference", type=Path, help="with it, its PyTorch checkpoint folder")
    parser.add_argument("--architecture", default="resnet18", metavar="NAME")
    parser.add_argument("--size", type=int, default=96, help="pixels of a side (96)")
    parser.add_argument("--data", default="builtin:digits", help="where real images are from")
    parser.add_argument("--candidates", nargs="+", default=list(CANDIDATE_IDS), metavar="ID")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.size, options.architecture = 2, 32, "mlp"
        options.candidates = ["ort-fp32", "ov-fp32"]
    if options.rounds < 2:
        raise UsageError(
            "--rounds", got=str(options.rounds), expected="at least 2", fix="one gives no range"
        )
    return options


def _sides(
    options: argparse.Namespace, folder: Path
) -> tuple[dict[str, Callable[[], Figures]], dict[str, float]]:
    """What is started in each round, by name, and the size of each variant's files in MiB."""
    bundle, reference = options.bundle, options.reference
    if bundle is None:
        note(f"{options.architecture}: making the candidates")
        made = make_network(
            folder / "made",
            architecture=options.architecture,
            size=options.size,
            source=options.data,
            candidates=options.candidates,
        )
        bundle, reference = pack(made, options.candidates, folder), made.folder
    opened = open_bundle(bundle)
    image = folder / "input.npy"
    np.save(image, _one_input(options.data, opened.manifest.input))
    sides: dict[str, Callable[[], Figures]] = {}
    sizes = {}
    for entry in opened.manifest.variants:
        variant = entry.variant
        files = {name: Path(bundle) / name for name in variant.files}
        sizes[variant.id] = sum(path.stat().st_size for path in files.values()) / 2**20
        cold = partial(_start, ANSWER_BUNDLE, image, bundle, variant.id, options.threads)
        apart = partial(measure_footprint, variant, files, threads=options.threads)
        sides[variant.id] = partial(_variant_figures, cold, apart)
    if reference is not None:
        sizes[PYTORCH] = (Path(reference) / "model.safetensors").stat().st_size / 2**20
        sides[PYTORCH] = partial(_start, ANSWER_PYTORCH, image, reference, options.threads)
    for name in MODULES:
        if find_spec(name) is not None:
            sides[f"import {name}"] = partial(_import, name)
    return sides, sizes


def _one_input(source: str, input: ClassifierInput) -> Array:
    """One real input as an app has it: a picture of the right size, or the tensor itself."""
    (batch,) = real_inputs(source, input, 1).values()
    one: Array = batch[0]
    return one


def _interleaved(
    sides: Mapping[str, Callable[[], Figures]], rounds: int
) -> dict[str, list[Figures]]:
    random = np.random.default_rng(0)
    found: dict[str, list[Figures]] = defaultdict(list)
    names = list(sides)
    if rounds > 2:
        # Once before, so that every file is in the page cache and every module compiled.
        for side in sides.values():
            side()
    for done in range(rounds):
        for position in random.permutation(len(names)):
            found[names[position]].append(sides[names[position]]())
        note(f"round {done + 1} of {rounds}")
    return {name: found[name] for name in names}


def _variant_figures(cold: Callable[[], Figures], apart: Callable[[], Any]) -> Figures:
    cost = apart()
    return cold() | {"load_ms": cost.load_ms, "first_call_ms": cost.first_call_ms}


def _start(code: str, *arguments: object) -> Figures:
    """Run a program to its first answer; the seconds till then, and its peak memory."""
    return _run(code + REPORT, *arguments)[0]


def _import(name: str) -> Figures:
    figures, value = _run(IMPORT + REPORT, name)
    return {"import_ms": float(value), "peak_rss_mb": figures["peak_rss_mb"]}


def _run(code: str, *arguments: object) -> tuple[Figures, str]:
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path[1:]))},
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        elapsed = time.perf_counter() - start
        rest = process.stdout.read().split()
    if process.returncode != 0 or first != "answered\n":
        raise SystemExit(f"a process that was measured failed, with code {process.returncode}")
    return {"cold_start_ms": elapsed * 1e3, "peak_rss_mb": float(rest[-1])}, rest[0]


def _cold_start_ratios(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Ratio]:
    if PYTORCH not in figures:
        return {}
    base = figures[PYTORCH]["cold_start_ms"][:, None]
    return {
        side: ratio(found["cold_start_ms"][:, None], base)
        for side, found in figures.items()
        if "cold_start_ms" in found and side != PYTORCH
    }


def _summary(values: Any) -> dict[str, float]:
    return {
        "median": float(np.median(values)),
        "least": float(values.min()),
        "most": float(values.max()),
    }


def _show(rows: list[dict[str, Any]]) -> None:
    def cell(row: Mapping[str, Any], name: str) -> str:
        found = row.get(name)
        if found is None:
            return "-"
        return f"{found['median']:.0f} [{found['least']:.0f}, {found['most']:.0f}]"

    def over(row: Mapping[str, Any]) -> str:
        found = row["cold_start_over_pytorch"]
        return times(None if found is None else Ratio(**found))

    def size(row: Mapping[str, Any]) -> str:
        return "-" if row["size_mb"] is None else f"{row['size_mb']:.1f}"

    started = [row for row in rows if "cold_start_ms" in row]
    show(
        "fresh processes to the first answer, median [least, most]",
        ("side", "cold start, ms", "over PyTorch's [95 %]", "peak memory, MiB", "files, MiB"),
        (
            (
                row["side"],
                cell(row, "cold_start_ms"),
                over(row),
                cell(row, "peak_rss_mb"),
                size(row),
            )
            for row in started
        ),
    )
    show(
        "loading alone, the runtime's import included",
        ("variant", "load, ms", "first call, ms"),
        (
            (row["side"], cell(row, "load_ms"), cell(row, "first_call_ms"))
            for row in started
            if "load_ms" in row
        ),
    )
    show(
        "imports alone (sys: Python itself)",
        ("module", "time, ms", "peak memory, MiB"),
        (
            (
                row["side"].removeprefix("import "),
                cell(row, "import_ms"),
                cell(row, "peak_rss_mb"),
            )
            for row in rows
            if "import_ms" in row
        ),
    )


if __name__ == "__main__":
    main()
