"""Few shots of ten classes: a dense head over a frozen body, and what each choice is worth.

Global average pooling, Dense(1024, ReLU), softmax over a frozen body. Looked at one by one:

- 5, 10, 20 and 50 images a class, with the dense head, a cosine head and class prototypes;
- the head's weight decay, chosen by cross-validation on the training images alone;
- early stopping on val;
- an imbalanced variant (each class has fewer images than the one before, down to a tenth), as it
  is, with class weights, with balanced resampling, and with logit adjustment. Their top-1 and the
  recall of the worst class are on the balanced val images.

    python export/recipes/few_shots_flowers.py --out runs/flowers --data folder:flowers
    python export/recipes/few_shots_flowers.py --out tried --quick

`folder:DIR` has one folder a flower; Oxford's 102 are `flowers:DIR`. Without --data it is
Fashion-MNIST, which stands in: flowers cannot be shipped. What is released has `--shots` (20)
images a class and the dense head.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import replace
from typing import Any

import numpy as np
from recipe_parts import (
    FASHION,
    RELEASE,
    Progress,
    answers,
    classes_of,
    figures_of,
    finish,
    history,
    kept,
    parser_of,
    part_of,
    quick,
    run,
    say,
)

from edgetl.data.dataset import Dataset
from edgetl.data.sources import open_dataset
from edgetl.data.splits import make_splits
from edgetl.pipeline.config import ReleaseConfig, training_config
from edgetl.pipeline.events import Reporter
from edgetl.pipeline.pretrain import letters_weights
from edgetl.pipeline.sections import DataConfig, FinetuneSection, InputConfig, PretrainConfig
from edgetl.reference.checkpoint import load_classifier
from edgetl.train.evaluate import val_metrics
from edgetl.train.features import features_of
from edgetl.train.loop import FinetuneConfig, finetune

SHOTS = (5, 10, 20, 50)
HEADS = {"dense 1024": "mlp", "cosine": "cosine", "prototypes": "prototype"}
BALANCES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "class weights": {"class_weights": "balanced"},
    "balanced resampling": {"sampler": "balanced"},
    "logit adjustment": {"loss": "logit-adjusted"},
}


def main() -> int:
    """Compare on val, then release."""
    parser = parser_of(__doc__, data=FASHION)
    parser.add_argument("--weights", default="letters", help="letters, imagenet, none or a file")
    parser.add_argument("--shots", type=int, default=20, metavar="N", help="of what ships (20)")
    options = parser.parse_args()
    wanted = config(options)
    figures = Comparison(wanted, options).all()
    run(wanted, options.out / RELEASE, until="calibrate")
    print(history(options.out / RELEASE).get("kept", ""))
    decay = history(options.out / RELEASE).get("recipe", {}).get("head_weight_decay")
    print(f"weight decay by cross-validation: {decay}")
    after = figures_of(*answers(options.out / RELEASE, "val", wanted.input.single()))
    print(f"val, calibrated: top-1 {after['top1']:.4f}, NLL {after['nll']:.4f}")
    figures["released"] = {
        "kept": kept(options.out / RELEASE),
        "calibrated": after,
        "weight_decay": decay,
    }
    return finish(run(wanted, options.out / RELEASE), figures, options)


def config(options: argparse.Namespace) -> ReleaseConfig:
    """What is released: the dense head on `--shots` images a class."""
    stand_in = options.data == FASHION
    whole = ReleaseConfig(
        schema="edgetl.config/1",
        name="few_shots",
        version="1.0.0",
        data=DataConfig(
            source=options.data,
            classes=classes_of(options.data),
            per_class=options.shots,
            val=500,
            calib=500,
            test=5_000 if stand_in else None,
        ),
        input=InputConfig(height=64 if stand_in else 224, width=64 if stand_in else 224),
        finetune=FinetuneSection(
            architecture="resnet18",
            weights=options.weights,
            recipe="linear-probe",
            head_kind="mlp",
            head_width=1024,
            choose_weight_decay=True,
            epochs=60,
            patience=8,
            batch_size=32,
            head_learning_rate=1e-3,
            augment="none",
            pretrain=PretrainConfig(per_class=200, epochs=3),
        ),
    )
    if not options.quick:
        return whole
    assert whole.finetune is not None
    return replace(
        quick(whole),
        data=replace(whole.data, per_class=6, val=60, calib=60, test=300),
        input=InputConfig(height=32, width=32),
        finetune=replace(whole.finetune, weights="none", epochs=2, choose_weight_decay=False),
    )


class Comparison:
    """The same images and budget for each choice; nothing here sees a test image."""

    def __init__(self, wanted: ReleaseConfig, options: argparse.Namespace) -> None:
        data, section = wanted.data, wanted.finetune
        assert section is not None
        self._input = wanted.input.spec()
        self._out, self._shots = options.out, options.shots if not options.quick else 6
        self._sizes = SHOTS if not options.quick else (3, 6)
        weights = section.weights
        if weights == "letters":
            reporter = Reporter("letters", Progress())
            weights = str(letters_weights(section, self._input, threads=None, reporter=reporter))
        self._config = training_config(wanted, weights=weights)
        dataset = open_dataset(data.source, classes=data.classes)
        # The release's own seed and sizes: its test images are in neither part.
        splits = make_splits(
            dataset, train=None, val=data.val, calib=data.calib, test=data.test, seed=data.seed
        )
        self._dataset, self._classes = dataset, dataset.classes
        self._train, self._val = splits.train, part_of(dataset, splits.val)

    def all(self) -> dict[str, Any]:
        """The heads at each size, then the imbalanced variant."""
        heads = {
            f"{name}, {shots} a class": self._trained(
                f"{name}, {shots} a class", [shots] * len(self._classes), head_kind=kind
            )
            for shots in self._sizes
            for name, kind in HEADS.items()
        }
        falling = np.geomspace(self._most(), max(1, self._most() // 10), len(self._classes))
        counts = [max(2, round(count)) for count in falling]
        print(f"imbalanced, from {counts[0]} to {counts[-1]} images a class:")
        balances = {
            name: self._trained(name, counts, **settings) for name, settings in BALANCES.items()
        }
        return {"heads": heads, "imbalanced": balances}

    def _most(self) -> int:
        return self._sizes[-1]

    def _trained(self, name: str, counts: list[int], **settings: Any) -> dict[str, float]:
        """Top-1, NLL, ECE and the worst class's recall on val, after training on so many images."""
        if settings.get("head_kind", "mlp") != "mlp":
            settings["head_width"] = FinetuneConfig.head_width
        wanted = replace(self._config, **settings)
        out = self._out / "compared" / re.sub(r"\W+", "-", name)
        say(f"training {name}")
        train = part_of(self._dataset, _first(self._dataset, self._train, counts))
        finetune(wanted, train, self._val, input=self._input, classes=self._classes, out=out)
        network, description = load_classifier(out)
        layer = description.head.layer
        head = network.get_submodule(layer)
        features = features_of(network, layer, self._input, self._val)
        raw = features @ head.weight.detach().numpy().T
        raw = raw if head.bias is None else raw + head.bias.detach().numpy()
        right = raw.argmax(axis=1) == self._val.labels
        worst = min(
            float(right[self._val.labels == label].mean()) for label in range(len(self._classes))
        )
        found = val_metrics(raw, self._val.labels)
        print(
            f"  {name:23} top-1 {found.top1:.4f}, NLL {found.nll:.4f}, ECE {found.ece:.4f}, "
            f"worst class {worst:.4f}"
        )
        figures = {"top1": found.top1, "nll": found.nll, "ece": found.ece}
        return {**figures, "worst_class_recall": worst, "images": float(len(train))}


def _first(dataset: Dataset, rows: np.ndarray, counts: list[int]) -> np.ndarray:
    """Of each class so many of these rows, the smaller numbers within the larger."""
    labels = dataset.labels[rows]
    return np.concatenate([rows[labels == k][:count] for k, count in enumerate(counts)])


if __name__ == "__main__":
    sys.exit(main())
