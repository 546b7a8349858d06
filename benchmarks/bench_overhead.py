"""What does edgetl add to what the libraries themselves cost, in a call and in a release?

calls: `Backend.run` and `Classifier.predict` beside the bare call of the runtime (onnxruntime's
`session.run`, OpenVINO's `infer`) with the same model and the same settings, interleaved: a tiny
network, where a call is all overhead, and a ResNet's INT8 form. What they add is checking: that
inputs are the spec's, that answers are finite probabilities, and in `predict` the picture.

release: `edgetl release` of a trained ResNet (`[model]`) beside `bare_release.py`, one process
that does the same export, quantization, inferences and timed calls with the libraries directly. The
page's occlusion maps and waterfall, inferences that a bare script would not make, are switched off.
They run alternately, each in a new folder; the ratio of wall times has its interval from the
pairs. The claim is 1.1 at most.

    python benchmarks/bench_overhead.py --out overhead.json
    python benchmarks/bench_overhead.py --out overhead.json --parts release --pairs 5
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from outcome import note, parser_of, show, times, write
from random_network import MadeNetwork, make_network, pack, real_inputs

from edgetl import Classifier
from edgetl.backends import registry
from edgetl.bench.compare import block_medians, ratio
from edgetl.bench.machine import activity, usable_cores
from edgetl.bench.measure import Block, Samples, in_process, interleave
from edgetl.pipeline.graph import STAGES
from edgetl.spec import Array
from edgetl.stats import paired_t_bounds

BARE = "bare"
FASHION = Path("/usr/share/datasets/fashion-mnist")
BARE_SCRIPT = Path(__file__).with_name("bare_release.py")

# A release whose numbers of images and timed calls are fixed: a bench that is over its time at
# once runs four rounds of five calls, and five more that settle.
CONFIG = """\
schema = "edgetl.config/1"
name = "overhead"
version = "1.0.0"
threads = {threads}
[data]
source = "{source}"
train = {train}
val = {val}
calib = {calib}
test = {test}
[input]
height = {size}
width = {size}
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
[model]
architecture = "{architecture}"
weights = "{weights}"
[export]
parity_images = {parity}
[quantize]
ptq_samples = {train}
[bench]
rounds = {rounds}
calls = {calls}
max_seconds = 0.1
[report]
occlusion_seconds = 0.0
waterfall_images = 0
"""
ROUNDS, CALLS = 4, 5

Call = Callable[[Mapping[str, Array]], object]


def main() -> None:
    """Measure the parts that were asked for, print the tables, write the file."""
    options = _options()
    before = activity()
    body: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if "calls" in options.parts:
            body["calls"] = _calls(options, Path(folder))
        if "release" in options.parts:
            body["release"] = _release(options, Path(folder))
    write(options, schema="edgetl.overhead/1", before=before, body=body)


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--parts", nargs="+", choices=("calls", "release"), default=["calls", "release"]
    )
    parser.add_argument("--rounds", type=int, default=60, help="of calls")
    parser.add_argument("--pairs", type=int, default=5, help="of releases")
    add_release_options(parser)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.pairs = 4, 2
        shrink(options)
    return options


def add_release_options(parser: argparse.ArgumentParser) -> None:
    """What decides the release of a trained network."""
    parser.add_argument("--architecture", default="resnet18", metavar="NAME")
    parser.add_argument("--size", type=int, default=224, help="pixels of a side (224)")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of a release")
    parser.add_argument("--data", default=f"idx:{FASHION}", help="builtin:digits or idx:DIR")
    parser.add_argument("--weights", type=Path, help="trained weights; left out, they are trained")
    parser.add_argument("--train", type=int, default=300, help="images that set INT8 ranges (300)")
    parser.add_argument("--val", type=int, default=500)
    parser.add_argument("--calib", type=int, default=500)
    parser.add_argument("--test", type=int, default=2000)


def shrink(options: argparse.Namespace) -> None:
    """The smallest release that works, for `--quick`."""
    options.size, options.data, options.train = 32, "builtin:digits", 100
    options.val, options.calib, options.test = 100, 100, 200


# Calls


def _calls(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    rows = []
    for architecture, candidates in (
        ("mlp", ("ort-fp32", "ov-fp32")),
        (options.architecture, ("ort-int8", "ov-int8")),
    ):
        note(f"{architecture}: making the candidates")
        made = make_network(
            folder / architecture,
            architecture=architecture,
            size=options.size,
            source="builtin:digits",
            candidates=candidates,
        )
        bundle = pack(made, candidates, folder / architecture)
        for name in candidates:
            rows += _call_rows(architecture, made, bundle, name, options)
            note(f"{architecture}, {name}: measured")
    show(
        "one call at batch 1, one thread; [95 % interval]",
        ("network", "candidate", "call", "over the bare call", "added, µs"),
        (
            (
                row["network"],
                row["candidate"],
                row["call"],
                times(row["ratio"]),
                "{:.1f} [{:.1f}, {:.1f}]".format(*row["added_microseconds"].values()),
            )
            for row in rows
        ),
    )
    return [row | {"ratio": asdict(row["ratio"])} for row in rows]


def _call_rows(
    architecture: str, made: MadeNetwork, bundle: Path, name: str, options: argparse.Namespace
) -> list[dict[str, Any]]:
    inputs = real_inputs("builtin:digits", made.input, 1)
    one = next(iter(inputs.values()))[0]
    with ExitStack() as stack:
        backend = stack.enter_context(closing(made.load(name, threads=1)))
        classifier = stack.enter_context(Classifier.load(bundle, variant=name, threads=1))
        bare = _bare_call(made, name, registry.describe(backend).settings)
        sides: dict[str, Block] = {
            BARE: in_process(bare, inputs),
            "Backend.run": in_process(backend.run, inputs),
            "Classifier.predict": in_process(lambda _: classifier.predict(one), {}),
        }
        samples = interleave(
            sides, calls=40, min_rounds=options.rounds, max_seconds=120.0, control=BARE
        )
    return [
        {
            "network": architecture,
            "candidate": name,
            "call": side,
            "ratio": ratio(samples[side], samples[BARE]),
            "added_microseconds": _added(samples, side),
            "rounds": samples.rounds,
            "calls": samples.calls,
        }
        for side in samples
        if side != BARE
    ]


def _added(samples: Samples, side: str) -> dict[str, float]:
    """The difference of block medians, round by round, in microseconds."""
    added = (block_medians(samples[side]) - block_medians(samples[BARE])) * 1e6
    low, high = paired_t_bounds(added, confidence=0.95)
    return {"estimate": float(added.mean()), "lower": float(low), "upper": float(high)}


def _bare_call(made: MadeNetwork, name: str, settings: Mapping[str, Any]) -> Call:
    """The runtime's own call on the same model, set as edgetl sets it."""
    files = list(made.files(name).values())
    if made.variant(name).backend == "openvino":
        import openvino

        core = openvino.Core()
        known = core.get_property("CPU", "SUPPORTED_PROPERTIES")
        chosen = {key: value for key, value in settings.items() if key in known}
        chosen.pop("CACHE_DIR", None)
        request = core.compile_model(files[0], "CPU", chosen).create_infer_request()
        return lambda inputs: request.infer(inputs)["probabilities"]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings["intra_op_threads"]
    options.inter_op_num_threads = settings["inter_op_threads"]
    for key, value in settings.items():
        if key.startswith("session."):
            options.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(files[0], options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(["probabilities"], inputs)


# Releases


def write_config(options: argparse.Namespace, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The config of a release of a trained network, and the values in it."""
    weights = options.weights or _trained(options, folder)
    values = {
        "source": options.data,
        "weights": weights.resolve(),
        "parity": min(256, options.val),
        "rounds": ROUNDS,
        "calls": CALLS,
    } | {
        name: getattr(options, name)
        for name in ("architecture", "size", "threads", "train", "val", "calib", "test")
    }
    config = folder / "overhead.toml"
    config.write_text(CONFIG.format(**values), encoding="utf-8")
    return config, values


def _release(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    config, values = write_config(options, folder)
    sides = {
        "edgetl": lambda out: edgetl_command("release", config, out),
        BARE: lambda out: _bare_command(values, out),
    }
    if not options.quick:
        # What both read is in the page cache from here on.
        timed(_bare_command(values, folder / "first"))
    order = np.random.default_rng(0)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for pair in range(options.pairs):
        for position in order.permutation(len(sides)):
            name = list(sides)[position]
            out = folder / f"{name}-{pair}"
            run = timed(sides[name](out))
            if name == "edgetl":
                run |= _stages(out)
            runs[name].append(run)
            note(f"pair {pair + 1}, {name}: {run['seconds']:.1f} s")
    return _release_result(runs, values, folder)


def edgetl_command(name: str, config: Path, out: Path) -> list[str]:
    """The command line of a release, or of one up to a stage."""
    return [sys.executable, "-m", "edgetl", name, str(config), "--out", str(out), "--quiet"]


def _bare_command(values: Mapping[str, Any], out: Path) -> list[str]:
    given = {name: value for name, value in values.items() if name != "source"}
    given["data"] = "digits" if values["source"] == "builtin:digits" else values["source"][4:]
    options = [text for name, value in given.items() for text in (f"--{name}", str(value))]
    return [sys.executable, str(BARE_SCRIPT), *options, "--out", str(out)]


def timed(command: list[str]) -> dict[str, float]:
    """Wall and CPU seconds of a command with all its processes.

    Exit codes 1 and 4 are verdicts of a release, and cost what a PASS costs but for the bundle.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1, 4):
        raise SystemExit(f"{' '.join(command)}\nended with {process.returncode}:\n{said[-2000:]}")
    return {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "exit_code": process.returncode,
    }


def _stages(run: Path) -> dict[str, Any]:
    """What each stage says that it took; the rest is starting and ending processes."""
    found = {}
    for stage in STAGES:
        record = run / stage.name / "stage.json"
        if record.is_file():
            found[stage.name] = float(json.loads(record.read_bytes())["seconds"])
    return {"stages": found}


def _release_result(
    runs: Mapping[str, list[dict[str, Any]]], values: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    def column(side: str, name: str) -> Any:
        return np.array([[run[name]] for run in runs[side]])

    wall = ratio(column("edgetl", "seconds"), column(BARE, "seconds"))
    cpu = ratio(column("edgetl", "cpu_seconds"), column(BARE, "cpu_seconds"))
    stages = {
        name: float(np.median([run["stages"].get(name, np.nan) for run in runs["edgetl"]]))
        for name in runs["edgetl"][0]["stages"]
    }
    total = float(np.median(column("edgetl", "seconds")))
    shares = {name: seconds / total for name, seconds in stages.items()}
    shares["processes"] = 1 - sum(shares.values())
    show(
        f"edgetl release over the bare script, {len(runs[BARE])} pairs [95 % interval]",
        ("", "ratio"),
        (("wall time", times(wall)), ("CPU time", times(cpu))),
    )
    show(
        "where edgetl's wall time goes",
        ("stage", "share"),
        ((name, f"{share:.1%}") for name, share in shares.items()),
    )
    codes = sorted({int(run["exit_code"]) for run in runs["edgetl"]})
    verdicts = {0: "PASS", 1: "FAIL", 4: "INCONCLUSIVE"}
    print(f"its verdicts: {', '.join(verdicts[code] for code in codes)}")
    first = json.loads((folder / f"{BARE}-0" / "result.json").read_bytes())
    return {
        "settings": {name: str(value) for name, value in values.items() if name != "weights"},
        "wall_ratio": asdict(wall),
        "cpu_ratio": asdict(cpu),
        "shares": shares,
        "images_through_the_bare_script": first["images"],
        "runs": {side: list(found) for side, found in runs.items()},
    }


def _trained(options: argparse.Namespace, folder: Path) -> Path:
    """Weights to release: trained briefly, or in a quick run only settled."""
    if options.quick:
        made = make_network(
            folder / "network",
            architecture=options.architecture,
            size=options.size,
            source=options.data,
            candidates=("ort-fp32",),
        )
        return made.folder / "model.safetensors"
    note("training the network that both will release")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_train, options, folder / "trained").result()


def _train(options: argparse.Namespace, out: Path) -> Path:
    from edgetl.data.sources import open_dataset
    from edgetl.data.splits import make_splits
    from edgetl.data.store import SplitPart
    from edgetl.spec import ImageInput
    from edgetl.train.loop import FinetuneConfig, finetune

    dataset = open_dataset(options.data)
    splits = make_splits(dataset, train=6000, val=500, calib=10, test=options.test, seed=1)
    train, val = (
        SplitPart(ids=part.ids, labels=part.labels, images=part.images)
        for part in (dataset.subset(rows) for rows in (splits.train, splits.val))
    )
    config = FinetuneConfig(
        architecture=options.architecture,
        weights="none",
        recipe="full",
        epochs=3,
        learning_rate=1e-3,
        precision="bf16",
        threads=options.threads,
    )
    side = ImageInput(height=options.size, width=options.size)
    finetune(config, train, val, input=side, classes=dataset.classes, out=out)
    return out / "model.safetensors"


if __name__ == "__main__":
    main()
