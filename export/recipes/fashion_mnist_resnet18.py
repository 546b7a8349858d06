"""A release as one library call: a ResNet-18 on Fashion-MNIST, its config built in Python.

The same as `edgetl release examples/fashion_mnist.toml`, for those who drive releases from a
program of their own, such as a sweep over sizes or policies. A second run does only what changed.
`digits_mobilenet.py` shows the steps inside.

    python export/recipes/fashion_mnist_resnet18.py --out runs/fashion_mnist
    python export/recipes/fashion_mnist_resnet18.py --out tried --quick --data idx:FOLDER

The data are IDX files, as in Debian's package `dataset-fashion-mnist`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from edgetl.gate import Policy
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.events import Event
from edgetl.pipeline.release import release
from edgetl.pipeline.sections import (
    BenchSection,
    CompileSection,
    DataConfig,
    FinetuneSection,
    GateSection,
    InputConfig,
    PretrainConfig,
    QuantizeSection,
)

DATA = "idx:/usr/share/datasets/fashion-mnist"
CLASSES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


def config(data: str) -> ReleaseConfig:
    """The release; what is left out has the default that a TOML file would have."""
    return ReleaseConfig(
        schema="edgetl.config/1",
        name="fashion_mnist",
        version="1.0.0",
        # Every test image that the source gives is for the verdict.
        data=DataConfig(source=data, classes=CLASSES, train=30_000, val=2_000, calib=2_000),
        input=InputConfig(height=96, width=96),
        finetune=FinetuneSection(
            architecture="resnet18",
            weights="letters",
            recipe="two-stage",
            epochs=3,
            head_epochs=1,
            learning_rate=1e-3,
            precision="bf16",
            pretrain=PretrainConfig(per_class=200, epochs=3),
        ),
        gate=GateSection(policy=Policy(max_accuracy_drop=0.01, max_flip_rate=0.03)),
    )


def quick(config: ReleaseConfig) -> ReleaseConfig:
    """Less of everything: to see that it works, not what the network can do."""
    assert config.finetune is not None
    return replace(
        config,
        name="fashion_mnist_quick",
        data=replace(config.data, train=256, val=64, calib=64, test=200),
        input=InputConfig(height=32, width=32),
        finetune=replace(config.finetune, weights="none", recipe="full", epochs=1),
        quantize=QuantizeSection(ptq_samples=32),
        compile=CompileSection(variants=("ort-fp32", "ort-int8")),
        bench=BenchSection(calls=5, rounds=4, max_seconds=2.0),
    )


def main() -> int:
    """Run the release and print its rows; the exit code is the verdict's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="a little of everything")
    parser.add_argument("--data", default=DATA, metavar="SOURCE")
    options = parser.parse_args()
    wanted = config(options.data)
    result = release(quick(wanted) if options.quick else wanted, out=options.out, listen=hear)
    print(f"{'variant':10} {'split':5} {'top-1':>7} {'NLL':>7} {'× PyTorch':>10}  verdict")
    for row in result.rows:
        print(
            f"{row.id:10} {row.split:5} {row.top1:7.4f} {row.nll:7.4f} "
            f"{row.speed_over_reference:10.2f}  {row.verdict}"
        )
    for sentence in result.open_gates:
        print(sentence)
    print(f"{result.verdict}; {result.bundle or 'no bundle'}")
    return result.exit_code


def hear(event: Event) -> None:
    """Say when a stage begins, and what it found."""
    if event.kind != "progress":
        print(f"{event.stage}: {event.text or event.kind}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
