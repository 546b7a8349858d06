"""A softmax MLP, 784-10-10, on images in MNIST's format; and what a softmax is and costs.

Loss and accuracy are reported for the training images too. The softmax of (2, 1, -1) is
(0.7054, 0.2595, 0.0351): it was printed as (0.88, 0.11, 0.01), which is no softmax of anything
near. It is stable at ±10,000, where e^x is not, and its cost grows with the number of classes as
that of the last layer does: the largest term is subtracted, one exponential a class is taken.

    python export/recipes/softmax_mlp.py --out runs/softmax_mlp
    python export/recipes/softmax_mlp.py --out tried --quick --data idx:FOLDER

Without --data it is Fashion-MNIST, from Debian's package `dataset-fashion-mnist`.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
from recipe_parts import (
    FASHION,
    RELEASE,
    answers,
    classes_of,
    figures_of,
    finish,
    history,
    parser_of,
    quick,
    run,
)

from edgetl import metrics
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.sections import DataConfig, FinetuneSection, InputConfig

PIXELS = 28 * 28
EXTREME = 10_000.0
CLASSES = (10, 100, 1_000, 10_000)


def main() -> int:
    """Show what a softmax is, train, report, release."""
    options = parser_of(__doc__, data=FASHION).parse_args()
    figures = softmax_facts(CLASSES[:2] if options.quick else CLASSES)
    wanted = config(options)
    run(wanted, options.out / RELEASE, until="calibrate")
    figures["epochs"] = history(options.out / RELEASE)["epochs"]
    for split in ("train", "val"):
        found = figures_of(*answers(options.out / RELEASE, split, wanted.input.single()))
        figures[split] = found
        print(f"{split}: loss {found['nll']:.4f} nats, accuracy {found['top1']:.4f}")
    return finish(run(wanted, options.out / RELEASE), figures, options)


def config(options: argparse.Namespace) -> ReleaseConfig:
    """One hidden layer of ten units, ten outputs for ten classes."""
    whole = ReleaseConfig(
        schema="edgetl.config/1",
        name="softmax_mlp",
        version="1.0.0",
        data=DataConfig(
            source=options.data, classes=classes_of(options.data), val=2_000, calib=2_000
        ),
        input=InputConfig(kind="tensor", shape=(PIXELS,)),
        finetune=FinetuneSection(
            architecture="mlp:10",
            weights="none",
            recipe="full",
            epochs=20,
            batch_size=128,
            learning_rate=3e-3,
            patience=4,
        ),
    )
    if not options.quick:
        return whole
    assert whole.finetune is not None
    return replace(
        quick(whole),
        data=replace(whole.data, train=400, val=100, calib=100, test=300),
        finetune=replace(whole.finetune, epochs=4),
    )


def softmax_facts(sizes: tuple[int, ...]) -> dict[str, Any]:
    """The published example, the ends of the number line, and the time for more classes."""
    example = metrics.softmax(np.array([[2.0, 1.0, -1.0]]))[0]
    print("softmax(2, 1, -1) =", " ".join(f"{value:.4f}" for value in example))
    ends = metrics.softmax(np.array([[EXTREME, 0.0, -EXTREME], [-EXTREME, -EXTREME, -EXTREME]]))
    print("softmax(10000, 0, -10000) =", " ".join(f"{value:.4f}" for value in ends[0]))
    print("softmax(-10000, -10000, -10000) =", " ".join(f"{value:.4f}" for value in ends[1]))
    cost = {}
    for classes in sizes:
        logits = np.random.default_rng(0).normal(size=(256, classes))
        # The fastest of nine: other work on the machine only ever adds.
        seconds = min(_seconds(logits) for _ in range(9))
        cost[str(classes)] = 1e9 * seconds / logits.size
        print(f"{classes:6} classes: {cost[str(classes)]:.1f} ns for each class of an image")
    return {"softmax": example.tolist(), "extremes": ends.tolist(), "ns_per_class": cost}


def _seconds(logits: np.ndarray) -> float:
    began = time.perf_counter()
    metrics.softmax(logits)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
