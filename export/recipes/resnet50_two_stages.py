"""A ResNet-50 in two stages for fine-grained classes, then smaller, then with more classes.

1. The head learns on a frozen body. In the second stage everything from `--train-from` on trains
   too, at a lower rate, in an optimiser that is made anew and holds all of these parameters: the
   published one went on with the first stage's optimiser, so that the head alone kept training.
   `--pull l2-sp` adds λ/2 · ‖θ − θ_source‖², `--pull kl` the divergence from the source model's
   answers; the bare distance that was published has no scale and pulls the head too.
2. A MobileNetV3-small learns from the ResNet-50's answers, beside the labels: this is what ships.
3. A network that learnt the first classes learns the later ones, with their images alone: plainly,
   without forgetting (LwF: the old answers are kept) and with EWC. What is forgotten is measured
   on images of the first classes that were not trained on.

    python export/recipes/resnet50_two_stages.py --out runs/birds --data cub:CUB_200_2011
    python export/recipes/resnet50_two_stages.py --out tried --quick

Without --data it is scikit-learn's digits, which stand in for CUB-200-2011: birds cannot be
shipped. `--weights imagenet` downloads torchvision's; `letters`, the default, learns letters first.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from recipe_parts import RELEASE, Progress, finish, kept, parser_of, part_of, quick, run, say

from edgetl.data.sources import Dataset, open_dataset
from edgetl.data.splits import make_splits
from edgetl.pipeline.config import ReleaseConfig, training_config
from edgetl.pipeline.continual import learn_classes, read_previous
from edgetl.pipeline.events import Reporter
from edgetl.pipeline.pretrain import letters_weights
from edgetl.pipeline.sections import (
    DataConfig,
    DistillationSection,
    FinetuneSection,
    InputConfig,
    KeepAnswersSection,
    L2SpSection,
    PretrainConfig,
)
from edgetl.train.loop import finetune

PULLS: dict[str, dict[str, Any]] = {
    "none": {},
    "l2-sp": {"l2_sp": L2SpSection(weight=0.01, head_weight=0.01)},
    "kl": {"keep_answers": KeepAnswersSection(weight=1.0)},
}
HOLDS = {
    "plainly": {"ewc": 0.0, "lwf": 0.0},
    "without forgetting (LwF)": {"ewc": 0.0, "lwf": 1.0},
    "with EWC": {"ewc": 1_000.0, "lwf": 0.0},
}


def main() -> int:
    """Two stages, a mobile student, later classes; release the student."""
    parser = parser_of(__doc__, data="builtin:digits")
    parser.add_argument("--weights", default="letters", help="letters, imagenet, none or a file")
    parser.add_argument("--train-from", default="layer3", metavar="LAYER", help="(layer3)")
    parser.add_argument("--pull", choices=tuple(PULLS), default="l2-sp")
    options = parser.parse_args()
    large = two_stages(options)
    teacher = options.out / "teacher"
    run(large, teacher, until="finetune")
    figures = {"two stages": kept(teacher), "later classes": later_classes(large, options)}
    small = student(large, teacher / "finetune")
    run(small, options.out / RELEASE, until="finetune")
    figures["student"] = kept(options.out / RELEASE)
    for name in ("two stages", "student"):
        found = figures[name]
        print(f"val, {name}: top-1 {found['top1']:.4f}, NLL {found['nll']:.4f}")
    return finish(run(small, options.out / RELEASE), figures, options)


def two_stages(options: argparse.Namespace) -> ReleaseConfig:
    """The large network's training; `quick` takes a smaller one of the same kind."""
    pictures = not options.data.startswith("builtin:")
    side = 224 if pictures else 64
    sizes = {"val": 600, "calib": 600} if pictures else {"val": 200, "calib": 200, "test": 800}
    whole = ReleaseConfig(
        schema="edgetl.config/1",
        name="resnet50_two_stages",
        version="1.0.0",
        data=DataConfig(source=options.data, **sizes),
        input=InputConfig(height=side, width=side),
        finetune=FinetuneSection(
            architecture="resnet50",
            weights=options.weights,
            recipe="two-stage",
            train_from=options.train_from,
            head_epochs=3,
            epochs=12,
            batch_size=32,
            learning_rate=3e-4,
            pretrain=PretrainConfig(per_class=100, epochs=2),
            **PULLS[options.pull],
        ),
    )
    if not options.quick:
        return whole
    assert whole.finetune is not None
    return replace(
        quick(whole),
        data=replace(whole.data, train=100, val=40, calib=40, test=300),
        input=InputConfig(height=32, width=32),
        finetune=replace(
            whole.finetune,
            architecture="resnet18",
            head_epochs=1,
            epochs=1,
            pretrain=PretrainConfig(per_class=4, epochs=1),
        ),
    )


def student(large: ReleaseConfig, teacher: Path) -> ReleaseConfig:
    """A mobile network on the same images, with the teacher's answers beside the labels."""
    assert large.finetune is not None
    learnt = FinetuneSection(
        architecture="mobilenet_v3_small",
        weights=large.finetune.weights,
        recipe="full",
        epochs=2 * large.finetune.epochs,
        batch_size=32,
        learning_rate=1e-3,
        pretrain=large.finetune.pretrain,
        distillation=DistillationSection(teacher=str(teacher.resolve()), weight=0.5),
    )
    return replace(large, finetune=learnt)


def later_classes(large: ReleaseConfig, options: argparse.Namespace) -> dict[str, Any]:
    """The first 60 % of the classes, then the others, held to the first in three ways."""
    dataset = open_dataset(large.data.source)
    first = len(dataset.classes) * 6 // 10
    earlier = _of_classes(dataset, range(first))
    later = _of_classes(dataset, range(first, len(dataset.classes)))
    section = replace(large.finetune, l2_sp=None, keep_answers=None, train_from=None)
    weights = section.weights
    if weights == "letters":
        reporter = Reporter("letters", Progress())
        weights = str(letters_weights(section, large.input.spec(), threads=None, reporter=reporter))
    config = training_config(replace(large, finetune=section), weights=weights)
    config = replace(config, patience=None)
    splits = _split(earlier)
    say(f"the first {first} classes")
    finetune(
        config,
        splits["train"],
        splits["val"],
        input=large.input.spec(),
        classes=earlier.classes,
        out=options.out / "earlier",
    )
    previous = replace(
        read_previous(options.out / "earlier"), train=splits["train"], held_out=splits["calib"]
    )
    new, found = _split(later), {}
    # The new head must not throw the body about: everything trains, at the lower rate.
    taught = replace(config, recipe="full", epochs=section.epochs)
    for name, hold in HOLDS.items():
        learned = learn_classes(
            taught,
            previous,
            new["train"],
            new["val"],
            classes=later.classes,
            out=options.out / name.split()[-1].strip("()").lower(),
            **hold,
        )
        print(f"{len(later.classes)} classes later, {name}: {learned.forgetting.sentence}")
        found[name] = learned.forgetting.to_json()
    return found


def _of_classes(dataset: Dataset, kept_classes: range) -> Dataset:
    rows = np.flatnonzero(np.isin(dataset.labels, list(kept_classes)))
    chosen = dataset.subset(rows)
    return replace(
        chosen,
        labels=chosen.labels - kept_classes.start,
        classes=tuple(dataset.classes[at] for at in kept_classes),
    )


def _split(dataset: Dataset) -> dict[str, Any]:
    """Half of the images to learn from, a quarter to choose an epoch, a quarter held out."""
    quarter = len(dataset) // 4
    # The source's own parts do not matter here: nothing of this is judged by the gate.
    whole = replace(dataset, given_split=None)
    splits = make_splits(whole, train=None, val=quarter, calib=quarter, test=0, seed=0)
    return {name: part_of(whole, rows) for name, rows in splits.items() if len(rows)}


if __name__ == "__main__":
    sys.exit(main())
