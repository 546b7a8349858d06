"""What the recipes of this folder share: options, progress, the release at their end, figures."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl import metrics
from edgetl.data.dataset import Dataset
from edgetl.data.preprocess import to_batch
from edgetl.data.store import SplitPart, SplitStore
from edgetl.files import parse_json, write_json
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.events import Event
from edgetl.pipeline.release import ReleaseResult, release
from edgetl.pipeline.sections import BenchSection, CompileSection, QuantizeSection, ReportSection
from edgetl.reference.client import ReferenceBackend
from edgetl.spec import SingleInput

FASHION = "idx:/usr/share/datasets/fashion-mnist"
FASHION_CLASSES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
RELEASE = "release"
"""The release's folder in --out; beside it is what a recipe compares it with."""

_BATCH = 256


def parser_of(docstring: str | None, *, data: str) -> argparse.ArgumentParser:
    """A parser with the options that every recipe has."""
    assert docstring is not None
    parser = argparse.ArgumentParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--data", default=data, metavar="SOURCE", help=f"({data})")
    parser.add_argument("--quick", action="store_true", help="a little of everything")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    return parser


def classes_of(data: str) -> tuple[str, ...] | None:
    """The names of Fashion-MNIST's classes, which its files have not; other data have theirs."""
    return FASHION_CLASSES if data == FASHION else None


def quick(config: ReleaseConfig) -> ReleaseConfig:
    """Fewer candidates, shorter measurements: to see that it works, not how well."""
    return replace(
        config,
        quantize=QuantizeSection(ptq_samples=32),
        compile=CompileSection(variants=("ort-fp32", "ort-int8")),
        bench=BenchSection(calls=5, rounds=4, max_seconds=2.0),
        report=ReportSection(occlusion_seconds=0.0, waterfall_images=0),
    )


def say(text: str) -> None:
    """A line of progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """One line that tells how far a stage is: rewritten on a terminal, each tenth elsewhere."""

    def __init__(self) -> None:
        self._tenth = -1
        self._open = False

    def __call__(self, event: Event) -> None:
        """Hear what happens in a release."""
        if event.kind == "progress":
            self._progress(event)
            return
        self._close()
        say(f"{event.stage}: {event.text or event.kind}")

    def _progress(self, event: Event) -> None:
        tenth = 10 * event.done // max(1, event.total)
        text = f"{event.stage}: {event.text}, {event.done}/{event.total}"
        if sys.stderr.isatty():
            width = os.get_terminal_size(sys.stderr.fileno()).columns
            sys.stderr.write("\r" + text[: width - 1].ljust(width - 1))
            self._open = True
        elif tenth != self._tenth:
            say(text)
        self._tenth = tenth

    def _close(self) -> None:
        if self._open:
            sys.stderr.write("\n")
        self._tenth, self._open = -1, False


def run(config: ReleaseConfig, out: Path, *, until: str = "report") -> ReleaseResult:
    """The release up to a stage; what an earlier call did is not done again."""
    return release(config, out=out, until=until, listen=Progress())


def finish(result: ReleaseResult, figures: Mapping[str, Any], options: argparse.Namespace) -> int:
    """Print every candidate and the verdict, write the figures; the exit code is the verdict's."""
    print(f"{'variant':10} {'split':5} {'top-1':>7} {'NLL':>7} {'× PyTorch':>10}  verdict")
    for row in result.rows:
        print(
            f"{row.id:10} {row.split:5} {row.top1:7.4f} {row.nll:7.4f} "
            f"{row.speed_over_reference:10.2f}  {row.verdict}"
        )
    for sentence in result.open_gates:
        print(sentence)
    bundle = None if result.bundle is None else str(result.bundle)
    print(f"{result.verdict}; {bundle or 'no bundle'}")
    if options.json is not None:
        write_json(options.json, {**figures, "verdict": result.verdict, "bundle": bundle})
    return result.exit_code


def history(out: Path) -> dict[str, Any]:
    """What the training of a run wrote of itself."""
    path = out / "finetune" / "history.json"
    document: dict[str, Any] = parse_json(path.read_bytes(), str(path))
    return document


def kept(out: Path) -> dict[str, Any]:
    """The epoch that was kept, with its figures on val."""
    document = history(out)
    epoch: dict[str, Any] = document["epochs"][document["best_epoch"] - 1]
    return epoch


def answers(out: Path, split: str, input: SingleInput) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The calibrated reference's probabilities, float32 [n, K], and the labels of a split."""
    part = SplitStore(out / "data").load(split)
    threads = len(os.sched_getaffinity(0))
    with ReferenceBackend(out / "calibrate", threads=threads) as reference:
        found = [
            reference.run({input.tensor.name: to_batch(part.images[at : at + _BATCH], input)})
            for at in range(0, len(part), _BATCH)
        ]
    return np.concatenate([one["probabilities"] for one in found]), part.labels


def figures_of(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> dict[str, float]:
    """Top-1, NLL and mean softmax entropy in nats, ECE of 15 bins."""
    return {
        "top1": metrics.top1(probabilities, labels),
        "nll": metrics.nll(probabilities, labels),
        "ece": metrics.ece(probabilities, labels),
        "entropy": float(metrics.entropy(probabilities).mean()),
    }


def part_of(dataset: Dataset, rows: NDArray[np.int64]) -> SplitPart:
    """Some samples of a dataset, as training takes them."""
    chosen = dataset.subset(rows)
    return SplitPart(ids=chosen.ids, labels=chosen.labels, images=chosen.images)
