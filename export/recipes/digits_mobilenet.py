"""From labelled images to a bundle in eight steps: a MobileNetV3-small that reads digits.

Everything `edgetl release` does, spelt out as library calls: a starting point for a pipeline of
your own. Change the data, the network or a step, and keep the rest. What the command adds is
resuming, a process for each stage, a report, and a record of what was made from what.

    python export/recipes/digits_mobilenet.py --out runs/digits_mobilenet
    python export/recipes/digits_mobilenet.py --out tried --quick
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import numpy as np

from edgetl.backends import registry
from edgetl.backends.base import Backend
from edgetl.bench.measure import Block, in_process, interleave
from edgetl.bench.result import BenchResult, Run, result_of
from edgetl.bundle import BundleContent, GoldenSet, ManifestVariant, write_bundle
from edgetl.calibration import fit_temperature
from edgetl.compile.openvino_from_onnx import openvino_from_onnx
from edgetl.data.decode import encode_png
from edgetl.data.preprocess import to_inputs
from edgetl.data.sources import Dataset, open_dataset
from edgetl.data.splits import make_splits
from edgetl.data.store import SplitPart
from edgetl.export.onnx_from_torch import onnx_from_torch
from edgetl.export.parity import check_parity
from edgetl.gate import Policy, Predictions, Verdict, judge
from edgetl.gate.selection import Candidate, Selection, select
from edgetl.pipeline.candidates import CANDIDATES
from edgetl.pipeline.events import Reporter, ignore
from edgetl.pipeline.pretrain import letters_weights
from edgetl.pipeline.sections import FinetuneSection, PretrainConfig
from edgetl.quantize.qdq import int8_from_fp32
from edgetl.quantize.refit import scale_head
from edgetl.reference.checkpoint import load_classifier, save_classifier
from edgetl.reference.client import ReferenceBackend
from edgetl.runtime.answers import answers
from edgetl.spec import Array, ImageInput, Precision
from edgetl.train.loop import FinetuneConfig, finetune

ARCHITECTURE = "mobilenet_v3_small"
INPUT = ImageInput(height=32, width=32)
POLICY = Policy(max_accuracy_drop=0.01, max_flip_rate=0.03)
BACKENDS = ("onnxruntime", "openvino")
THREADS = 1

Models = dict[str, dict[str, bytes]]  # a candidate's id -> its files by name


def main() -> int:
    """Run the eight steps; the exit code is the verdict's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--quick", action="store_true", help="seconds: a ResNet-18, without pretraining"
    )
    options = parser.parse_args()

    # 1. The data: four splits that share no image. The test split waits until the last step.
    digits = open_dataset("builtin:digits")
    splits = make_splits(digits, train=400, val=200, calib=200, test=900, seed=0)
    train, val, calib = (part(digits, rows) for rows in (splits.train, splits.val, splits.calib))

    # 2. Fine-tune, and fit the temperature on images that the network has not seen.
    say("fine-tuning")
    trained = train_network(train, val, digits.classes, options.out, quick=options.quick)
    reference_folder = calibrate(trained, calib, options.out / "reference")

    # 3. One FP32 ONNX file, held against PyTorch; 4. the candidates, made from it.
    with ReferenceBackend(reference_folder, threads=THREADS) as reference:
        say("exporting, quantizing, compiling")
        reference_on_val = predict(reference, val)
        model = export(reference_folder, reference_on_val, val)
        models = make_candidates(model, train, calib)
        with ExitStack() as stack:
            backends = {
                name: stack.enter_context(closing(load(name, files)))
                for name, files in models.items()
            }

            # 5. Latency, interleaved with PyTorch's; 6. the fastest that seem safe on val.
            say("measuring")
            bench = measure(reference, backends, val, quick=options.quick)
            selection = choose(backends, bench, reference_on_val, val)

            # 7. The verdict, on the test split, which is read once and for the winners only.
            test = part(digits, splits.test)
            reference_on_test = predictions(predict(reference, test), test)
            verdicts = {
                name: judge(
                    reference_on_test,
                    predictions(predict(backends[name], test), test),
                    POLICY,
                    bench=bench.pair(name),
                    alpha=selection.alpha,
                    calibration_ids=calib.ids,
                    ptq_ids=train.ids,
                )
                for name in selection.winners.values()
            }
            passed = [name for name, verdict in verdicts.items() if verdict.verdict == "PASS"]

            # 8. The bundle, with a golden set by which a device checks itself.
            show(verdicts, bench)
            if {CANDIDATES[name].backend for name in passed} != set(BACKENDS):
                return 4 if any(v.verdict == "INCONCLUSIVE" for v in verdicts.values()) else 1
            golden = golden_set(reference, {name: backends[name] for name in passed}, val, digits)
    bundle = pack(options.out, digits, passed, models, golden)
    print(f"bundle: {bundle}")
    return 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def part(dataset: Dataset, rows: Array) -> SplitPart:
    chosen = dataset.subset(rows)
    return SplitPart(ids=chosen.ids, labels=chosen.labels, images=chosen.images)


def train_network(
    train: SplitPart, val: SplitPart, classes: tuple[str, ...], out: Path, *, quick: bool
) -> Path:
    """A checkpoint folder. The features come from rendered letters, which are kept in a cache."""
    # Without features from elsewhere a MobileNet needs minutes to learn anything at all.
    architecture, weights = ("resnet18", "none") if quick else (ARCHITECTURE, letters())
    config = FinetuneConfig(
        architecture=architecture,
        weights=weights,
        recipe="full",
        epochs=3 if quick else 12,
        batch_size=32,
        learning_rate=1e-3,
        augment="none" if quick else "light",
    )
    out = out / "finetune"
    return finetune(config, train, val, input=INPUT, classes=classes, out=out).folder


def letters() -> str:
    pretrain = PretrainConfig(per_class=300, epochs=6)
    section = FinetuneSection(architecture=ARCHITECTURE, pretrain=pretrain)
    reporter = Reporter("letters", ignore)
    return str(letters_weights(section, INPUT, threads=None, reporter=reporter))


def calibrate(trained: Path, calib: SplitPart, folder: Path) -> Path:
    """The reference: the network with its temperature. Everything is judged against it."""
    with ReferenceBackend(trained, threads=THREADS) as network:
        temperature = fit_temperature(predict(network, calib, "logits"), calib.labels)
    module, description = load_classifier(trained)
    head = dataclasses.replace(description.head, temperature=temperature)
    save_classifier(folder, module, dataclasses.replace(description, head=head))
    return folder


def export(reference: Path, probabilities: Array, val: SplitPart) -> bytes:
    """Pixels to probabilities in one file; it answers as PyTorch does, or this raises."""
    network, description = load_classifier(reference)
    model = onnx_from_torch(network, input=INPUT, head=description.head)
    parity = check_parity(model, probabilities, to_inputs(val.images, INPUT))
    say(f"worst difference from PyTorch: {parity.difference:.1e}")
    return model


def make_candidates(fp32: bytes, train: SplitPart, calib: SplitPart) -> Models:
    """Every candidate's files; below FP32 the temperature is fitted again."""
    int8 = int8_from_fp32(fp32, to_inputs(train.images, INPUT))
    made: Models = {}
    for name in ("ort-fp32", "ort-int8", "ov-fp32", "ov-bf16", "ov-int8"):
        precision = CANDIDATES[name].precision
        model = int8 if precision is Precision.INT8 else fp32
        if precision is not Precision.FP32:
            with closing(load(name, files_of(name, model))) as backend:
                # Less a constant an image, the logarithms of probabilities are the logits.
                logits = np.log(np.maximum(predict(backend, calib), 1e-12))
            model = scale_head(model, fit_temperature(logits, calib.labels))
        made[name] = files_of(name, model)
    return made


def files_of(name: str, model: bytes) -> dict[str, bytes]:
    variant = CANDIDATES[name].variant()
    contents = openvino_from_onnx(model) if variant.backend == "openvino" else (model,)
    return dict(zip(variant.files, contents, strict=True))


def load(name: str, files: Mapping[str, bytes]) -> Backend:
    return registry.load(CANDIDATES[name].variant(), files, threads=THREADS)


def predict(backend: Backend, split: SplitPart, output: str = "probabilities") -> Array:
    rows = range(0, len(split), 32)
    batches = (to_inputs(split.images[start : start + 32], INPUT) for start in rows)
    return np.concatenate([backend.run(batch)[output] for batch in batches])


def predictions(probabilities: Array, split: SplitPart) -> Predictions:
    return Predictions(ids=split.ids, labels=split.labels, probabilities=probabilities)


def measure(
    reference: ReferenceBackend, backends: Mapping[str, Backend], val: SplitPart, *, quick: bool
) -> BenchResult:
    """Rounds with a block of calls of every side: on a shared machine only ratios are told."""
    inputs = to_inputs(val.images[:1], INPUT)
    sides: dict[str, Block] = {"reference": partial(reference.time_block, inputs)}
    sides |= {name: in_process(backend.run, inputs) for name, backend in backends.items()}
    samples = interleave(sides, min_rounds=8 if quick else 24, max_seconds=4.0 if quick else 60.0)
    return result_of([Run(samples=samples, batch=1, threads=THREADS)], machine={})


def choose(
    backends: Mapping[str, Backend], bench: BenchResult, reference: Array, val: SplitPart
) -> Selection:
    """The fastest of each backend whose harm on val is within half of every limit."""
    candidates = {}
    for name, backend in backends.items():
        cell = bench.cell(name, batch=1)
        candidates[name] = Candidate(
            backend=CANDIDATES[name].backend,
            predictions=predictions(predict(backend, val), val),
            p50_ms=cell.p50_ms,
            seconds=bench.samples[cell.samples][name],
        )
    slow = bench.cell("reference", batch=1).p50_ms
    return select(candidates, predictions(reference, val), POLICY, reference_p50_ms=slow)


def show(verdicts: Mapping[str, Verdict], bench: BenchResult) -> None:
    for name, verdict in verdicts.items():
        speed = bench.pair(name).ratio().inverse()
        top1 = {side: figures["top1"] for side, figures in verdict.metrics.items()}
        print(
            f"{name}: {verdict.verdict}, {speed.estimate:.1f} × PyTorch's speed "
            f"[{speed.lower:.1f}, {speed.upper:.1f}], top-1 {top1['candidate']:.4f} "
            f"(reference {top1['reference']:.4f})"
        )
        for gate in verdict.gates:
            if gate.verdict != "PASS":
                print(f"  {gate.name}: {gate.verdict}, at most {gate.upper}, limit {gate.limit}")


def golden_set(
    reference: Backend, winners: Mapping[str, Backend], val: SplitPart, digits: Dataset
) -> GoldenSet:
    """Sixteen validation images, never test ones, with everyone's answers."""
    images = to_inputs(val.images[:16], INPUT)["image"]
    inputs = tuple(encode_png(image) for image in images)
    ask = partial(answers, inputs=inputs, spec=INPUT, classes=len(digits.classes))
    own = {name: ask(backend) for name, backend in winners.items()}
    return GoldenSet(kind="real", inputs=inputs, reference=ask(reference), answers=own)


def pack(out: Path, digits: Dataset, passed: list[str], models: Models, golden: GoldenSet) -> Path:
    content = BundleContent(
        name="digits_mobilenet",
        version="1.0.0",
        classes=digits.classes,
        input=INPUT,
        variants=tuple(
            ManifestVariant(variant=CANDIDATES[name].variant(), verdict="PASS") for name in passed
        ),
        models={file: data for name in passed for file, data in models[name].items()},
        golden=golden,
    )
    return write_bundle(out, content)


if __name__ == "__main__":
    sys.exit(main())
