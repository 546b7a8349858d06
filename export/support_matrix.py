"""Which architectures work as which candidate: exported, run and judged, as a table.

The networks are those of `evidence_network.py`. One that answers every image alike, or hardly
better than chance, is listed as no evidence, whatever its candidates say. Latency is not judged.

    python export/support_matrix.py --out docs/support-matrix.md --json matrix.json
    python export/support_matrix.py --out matrix.md --quick
    python export/support_matrix.py --out matrix.md --architectures vgg16,timm:convnext_atto
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence_network import Digits, Sizes, in_batches, make_network
from numpy.typing import NDArray
from torch import nn

from edgetl import metrics
from edgetl.backends import registry
from edgetl.bench.machine import machine_facts
from edgetl.calibration import fit_temperature_report
from edgetl.compile.openvino_from_onnx import openvino_from_onnx
from edgetl.errors import EdgetlError
from edgetl.export.onnx_from_torch import onnx_from_torch
from edgetl.export.parity import check_parity
from edgetl.gate import Policy, Predictions, judge
from edgetl.pipeline.candidates import CANDIDATES, Candidate
from edgetl.quantize.qdq import int8_from_fp32
from edgetl.quantize.refit import scale_head
from edgetl.reference.architectures import ARCHITECTURES
from edgetl.reference.network import Reference
from edgetl.spec import Array, ClassifierInput, Head, ImageInput, Precision, TensorInput

TIMM = ("timm:convnext_atto", "timm:mobilenetv3_small_050", "timm:vit_tiny_patch16_224")
EVERY = (*ARCHITECTURES, *TIMM)
# What runs on every CPU that edgetl supports.
JUDGED = ("ort-fp32", "ort-int8", "ov-fp32", "ov-bf16", "ov-int8")
QUICK = ("mlp", "shufflenet_v2_x1_0", "resnet18")
FULL = Sizes(train=700, calib=200, test=897, ptq=100)
LITTLE = Sizes(train=300, calib=60, test=120, ptq=16)
LEAST_SPREAD = 0.1
LEAST_TOP1 = 0.5
_BATCH = 64
# Below this a probability is rounding error of the softmax, and its logarithm is noise.
_FLOOR = 1e-12


@dataclass(kw_only=True)
class Row:
    """One architecture.

    Attributes:
        architecture: Its name.
        side: Pixels of a side of its input.
        top1: The reference's accuracy on test.
        spread: The greatest standard deviation of a class's probability over test.
        difference: The worst of the exported file's probabilities against PyTorch's.
        cells: Candidate -> PASS, FAIL, INCONCLUSIVE, or what went wrong.
        harms: Candidate -> gate -> estimate.
        problem: What went wrong before the candidates.
    """

    architecture: str
    side: int
    top1: float = float("nan")
    spread: float = float("nan")
    difference: float = float("nan")
    cells: dict[str, str] = field(default_factory=dict)
    harms: dict[str, dict[str, float | None]] = field(default_factory=dict)
    problem: str = ""

    @property
    def is_evidence(self) -> bool:
        """Whether agreement with this network shows anything."""
        return self.spread > LEAST_SPREAD and self.top1 > LEAST_TOP1


def judged(architecture: str, digits: Digits, *, side: int, threads: int) -> Row:
    """Make an architecture's network, its candidates, and their verdicts."""
    row = Row(architecture=architecture, side=8 if architecture == "mlp" else side)
    input: ClassifierInput = ImageInput(height=side, width=side)
    if architecture == "mlp":
        input = TensorInput(shape=(8, 8))
    try:
        network, head = make_network(architecture, digits, input, threads=threads)
        reference = answers_of(Reference.of(network, input, head), digits, input)
        labels = digits.split("test").labels
        row.top1 = metrics.top1(reference, labels)
        row.spread = float(reference.std(axis=0).max())
        fp32 = exported(network, input, head)
        test = digits.inputs("test", input)
        row.difference = check_parity(fp32, reference, test, threads=threads).difference
    except EdgetlError as error:
        row.problem = str(error)
        return row
    int8 = quantized(row, fp32, digits.inputs("ptq", input), threads)
    truth = Predictions(labels=labels, probabilities=reference)
    for name in JUDGED:
        candidate = CANDIDATES[name]
        model = int8 if candidate.precision is Precision.INT8 else fp32
        if model is not None:
            judge_one(row, name, candidate, model, digits, input, truth, threads)
    return row


def exported(network: nn.Module, input: ClassifierInput, head: Head) -> bytes:
    """The one FP32 file that every candidate is made from."""
    return onnx_from_torch(network, input=input, head=head)


def answers_of(reference: Reference, digits: Digits, input: ClassifierInput) -> NDArray[np.float32]:
    """PyTorch's probabilities of the test part."""
    tensor = in_batches(lambda *x: reference(*x)[0], digits.inputs("test", input))
    probabilities: NDArray[np.float32] = tensor.numpy()
    return probabilities


def quantized(row: Row, fp32: bytes, samples: Mapping[str, Array], threads: int) -> bytes | None:
    """The INT8 file; what goes wrong with it is written into its candidates' cells."""
    try:
        return int8_from_fp32(fp32, samples, threads=threads)
    except EdgetlError as error:
        for name in JUDGED:
            if CANDIDATES[name].precision is Precision.INT8:
                row.cells[name] = f"not quantized: {error}"
        return None


def judge_one(
    row: Row,
    name: str,
    candidate: Candidate,
    model: bytes,
    digits: Digits,
    input: ClassifierInput,
    truth: Predictions,
    threads: int,
) -> None:
    """Run one candidate as a release does, its temperature fitted again, and judge it."""
    try:
        if candidate.precision is not Precision.FP32:
            calib = run(candidate, model, digits.inputs("calib", input), threads)
            fit = fit_temperature_report(
                np.log(np.maximum(calib, _FLOOR)), digits.split("calib").labels
            )
            model = model if fit.at_bound else scale_head(model, fit.temperature)
        answers = run(candidate, model, digits.inputs("test", input), threads)
        theirs = Predictions(labels=truth.labels, probabilities=answers)
        verdict = judge(truth, theirs, Policy())
    except EdgetlError as error:
        row.cells[name] = f"did not run: {error}"
        return
    row.cells[name] = verdict.verdict
    row.harms[name] = {gate.name: gate.estimate for gate in verdict.gates}


def run(
    candidate: Candidate, model: bytes, inputs: Mapping[str, Array], threads: int
) -> NDArray[np.float32]:
    """A candidate's probabilities."""
    variant = candidate.variant()
    contents = openvino_from_onnx(model) if candidate.backend == "openvino" else (model,)
    files = dict(zip(variant.files, contents, strict=True))
    count = len(next(iter(inputs.values())))
    with closing(registry.load(variant, files, threads=threads)) as backend:
        parts = [
            backend.run({key: batch[at : at + _BATCH] for key, batch in inputs.items()})
            for at in range(0, count, _BATCH)
        ]
    return np.concatenate([part["probabilities"] for part in parts])


def markdown(rows: Sequence[Row], sizes: Sizes, command: str) -> str:
    """The page: how it was made, the table, what it means, what went wrong."""
    policy = Policy()
    packages = ("torch", "torchvision", "timm", "onnx", "onnxruntime", "openvino")
    head = ["architecture", "input", "top-1", "spread", "export", *JUDGED]
    lines = [
        "# Support matrix",
        "",
        "Which architectures were exported, run and judged as which candidate.",
        "",
        f"Made with `{command}` on {machine_facts()['cpu']}; "
        + ", ".join(f"{name} {version(name)}" for name in packages)
        + ".",
        "",
        f"The networks saw {sizes.train} handwritten digits: those with batch normalisation were "
        "trained for some epochs, of the others only the head was fitted, to random features. "
        f"Candidates are judged on {sizes.test} other digits against the default policy without "
        f"latency: top-1 drop under {policy.max_accuracy_drop:g}, NLL increase under "
        f"{policy.max_nll_increase:g}, Brier increase under {policy.max_brier_increase:g}, flips "
        f"under {policy.max_flip_rate:g}, each by its upper 95 % bound. *spread* is the greatest "
        "standard deviation of a class's probability over these digits, *export* the worst "
        "difference of the exported file's probabilities from PyTorch's.",
        "",
        "A PASS shows that export, quantization and runtime are right for the architecture. A "
        "FAIL or an INCONCLUSIVE below FP32 says that this hardly trained network loses too much "
        "there, or that the test is too small to tell; what your network loses, "
        "`edgetl release` measures.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *(line(row) for row in rows),
        "",
    ]
    weak = [row.architecture for row in rows if not row.problem and not row.is_evidence]
    if weak:
        lines += [
            f"No evidence (a spread of at most {LEAST_SPREAD:g}, or a top-1 of at most "
            f"{LEAST_TOP1:g}): {', '.join(weak)}.",
            "",
        ]
    return "\n".join([*lines, *troubles(rows)])


def line(row: Row) -> str:
    """One architecture's line of the table."""
    if row.problem:
        return f"| {row.architecture} | {row.side} | | | no |" + " |" * len(JUDGED)
    cells = [short(row, name) for name in JUDGED]
    figures = [f"{row.top1:.3f}", f"{row.spread:.2f}", f"{row.difference:.0e}"]
    return "| " + " | ".join([row.architecture, str(row.side), *figures, *cells]) + " |"


def short(row: Row, name: str) -> str:
    """A cell: the verdict, with the share of flipped answers where it is no PASS."""
    cell = row.cells[name].partition(":")[0]
    flips = row.harms.get(name, {}).get("flips")
    return cell if cell == "PASS" or flips is None else f"{cell} ({flips:.1%} flips)"


def troubles(rows: Sequence[Row]) -> list[str]:
    """What went wrong, in full."""
    told = [f"- {row.architecture}: {row.problem}" for row in rows if row.problem]
    told += [
        f"- {row.architecture}, {name}: {cell}"
        for row in rows
        for name, cell in row.cells.items()
        if ":" in cell
    ]
    return ["What did not work:", "", *told, ""] if told else []


def main() -> int:
    """Judge every architecture; 1 when one could not be exported or run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="PAGE.md")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="three architectures, few digits")
    parser.add_argument("--architectures", metavar="A,B", help="in place of all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    chosen = QUICK if options.quick else EVERY
    names = options.architectures.split(",") if options.architectures else chosen
    sizes, side = (LITTLE, 32) if options.quick else (FULL, 64)
    digits, rows = Digits.of(sizes), []
    for name in names:
        began = time.perf_counter()
        rows.append(judged(name, digits, side=side, threads=options.threads))
        said = rows[-1].problem or ", ".join(f"{k} {v}" for k, v in rows[-1].cells.items())
        took = time.perf_counter() - began
        print(f"{name} ({took:.0f} s): {said}", file=sys.stderr, flush=True)
    command = "python export/support_matrix.py " + " ".join(sys.argv[1:])
    options.out.write_text(markdown(rows, sizes, command))
    if options.json:
        options.json.write_text(json.dumps([table(row) for row in rows], indent=1) + "\n")
    failed = any(row.problem or any(":" in cell for cell in row.cells.values()) for row in rows)
    return 1 if failed else 0


def table(row: Row) -> dict[str, Any]:
    """A row as plain data; a figure that there is not is null."""
    values = asdict(row) | {"is_evidence": row.is_evidence}
    return {
        key: None if isinstance(value, float) and not np.isfinite(value) else value
        for key, value in values.items()
    }


if __name__ == "__main__":
    sys.exit(main())
