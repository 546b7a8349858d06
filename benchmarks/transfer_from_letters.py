"""Does a network that learnt letters first need fewer labelled images than one from scratch?

The same ResNet-18 at 96 × 96 is fine-tuned on 20 images per class of Fashion-MNIST, once from
weights pretrained on rendered letters and once from random ones: five seeds, the same images,
the same number of epochs and the same recipe for both. Top-1 is measured on test images; the
interval is of the paired difference over seeds.

    python benchmarks/transfer_from_letters.py --out transfer.json
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from edgetl.bench.machine import machine_facts
from edgetl.data.dataset import Dataset
from edgetl.data.preprocess import to_batch
from edgetl.data.sources import open_dataset
from edgetl.data.splits import make_splits
from edgetl.data.store import SplitPart
from edgetl.files import write_json
from edgetl.metrics import top1
from edgetl.pipeline.events import Event, Reporter
from edgetl.pipeline.pretrain import letters_weights
from edgetl.pipeline.sections import FinetuneSection, PretrainConfig
from edgetl.reference.client import ReferenceBackend
from edgetl.spec import ImageInput
from edgetl.stats import paired_t_bounds
from edgetl.train.config import FinetuneConfig
from edgetl.train.loop import finetune

FASHION = Path("/usr/share/datasets/fashion-mnist")


def main() -> None:
    """Run both sides for every seed and write the figures."""
    options = _options()
    dataset = open_dataset(options.data)
    side = ImageInput(height=options.size, width=options.size)
    section = FinetuneSection(
        architecture=options.architecture,
        precision="bf16",
        pretrain=PretrainConfig(per_class=options.letters_per_class, epochs=options.letters_epochs),
    )
    letters = letters_weights(section, side, threads=None, reporter=Reporter("letters", _print))
    rows = []
    for seed in range(options.seeds):
        row = {"seed": seed}
        for name, weights in (("letters", str(letters)), ("scratch", "none")):
            began = time.monotonic()
            row[name] = _accuracy(options, dataset, side, weights, seed)
            print(
                f"seed {seed} {name}: top-1 {row[name]:.4f}, {time.monotonic() - began:.0f} s",
                flush=True,
            )
        rows.append(row)
    differences = np.array([row["letters"] - row["scratch"] for row in rows])
    low, high = paired_t_bounds(differences, confidence=0.95)
    result = {
        "schema": "edgetl.transfer/1",
        "command": "python benchmarks/transfer_from_letters.py "
        + " ".join(f"--{k.replace('_', '-')} {v}" for k, v in sorted(vars(options).items())),
        "machine": machine_facts(),
        "rows": rows,
        "mean_difference": float(differences.mean()),
        "interval_95": [low, high],
        "letters_better": bool(low > 0),
    }
    write_json(options.out, result)
    print(
        f"letters - scratch: {differences.mean() * 100:+.1f} points top-1, 95 % interval "
        f"[{low * 100:+.1f}, {high * 100:+.1f}] over {options.seeds} seeds; {options.out}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", default=f"idx:{FASHION}")
    parser.add_argument("--architecture", default="resnet18")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--val-per-class", type=int, default=20)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--letters-per-class", type=int, default=400)
    parser.add_argument("--letters-epochs", type=int, default=4)
    return parser.parse_args()


def _accuracy(
    options: argparse.Namespace, dataset: Dataset, side: ImageInput, weights: str, seed: int
) -> float:
    """Fine-tune once and score the test images with the best epoch."""
    classes = len(dataset.classes)
    splits = make_splits(
        dataset,
        train=options.per_class * classes,
        val=options.val_per_class * classes,
        calib=classes,
        test=options.test,
        seed=seed,
    )
    config = FinetuneConfig(
        architecture=options.architecture,
        weights=weights,
        recipe="full",
        epochs=options.epochs,
        batch_size=32,
        learning_rate=1e-3,
        augment="light",
        precision="bf16",
        # Both sides run all their epochs: neither is stopped early.
        patience=options.epochs,
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        finetune(
            config,
            _part(dataset, splits.train),
            _part(dataset, splits.val),
            input=side,
            classes=dataset.classes,
            out=Path(folder),
        )
        return _score(Path(folder), _part(dataset, splits.test), side)


def _score(folder: Path, test: SplitPart, side: ImageInput) -> float:
    reference = ReferenceBackend(folder, threads=len(os.sched_getaffinity(0)))
    try:
        answers = [
            reference.run({"image": to_batch(test.images[i : i + 64], side)})["probabilities"]
            for i in range(0, len(test), 64)
        ]
    finally:
        reference.close()
    return top1(np.concatenate(answers), test.labels)


def _part(dataset: Dataset, indices: np.ndarray) -> SplitPart:
    chosen = dataset.subset(indices)
    return SplitPart(ids=chosen.ids, labels=chosen.labels, images=chosen.images)


def _print(event: Event) -> None:
    if event.kind == "note" or event.done == event.total:
        print(f"{event.stage}: {event.text}")


if __name__ == "__main__":
    main()
