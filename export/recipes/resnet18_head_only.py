"""A ResNet-18 whose head alone is trained, and what its softmax outputs are good for.

Adam at 1e-3 trains the last layer on a frozen body. Freezing means two things: no parameter of the
body changes, and neither do the running means and variances of its batch normalisation, which
`requires_grad=False` leaves moving as long as the network is in training mode.

Three figures of the published script are done over here:

- its uncertainty took the logarithm of raw logits; the entropy here is of the softmax outputs;
- its logistic regression and SVM on softmax outputs were scored on the images they were fitted to;
  here they are fitted on calib and scored on val, beside the classifier itself on the same images;
- how far confidence is from accuracy (ECE) was not asked; here it is, before and after a
  temperature.

    python export/recipes/resnet18_head_only.py --out runs/head_only
    python export/recipes/resnet18_head_only.py --out tried --quick --data folder:photos

Without --data it is Fashion-MNIST, from Debian's package `dataset-fashion-mnist`. `--weights
imagenet` downloads torchvision's; `letters`, the default, learns letters here first.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

from recipe_parts import (
    FASHION,
    RELEASE,
    answers,
    classes_of,
    figures_of,
    finish,
    kept,
    parser_of,
    quick,
    run,
)
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.sections import DataConfig, FinetuneSection, InputConfig, PretrainConfig


def main() -> int:
    """Train the head, look at its softmax outputs, release."""
    parser = parser_of(__doc__, data=FASHION)
    parser.add_argument("--weights", default="letters", help="letters, imagenet, none or a file")
    options = parser.parse_args()
    wanted = config(options)
    run(wanted, options.out / RELEASE, until="calibrate")
    figures = look(wanted, options)
    return finish(run(wanted, options.out / RELEASE), figures, options)


def config(options: argparse.Namespace) -> ReleaseConfig:
    """The release; the recipe is in `finetune`."""
    whole = ReleaseConfig(
        schema="edgetl.config/1",
        name="resnet18_head_only",
        version="1.0.0",
        data=DataConfig(
            source=options.data,
            classes=classes_of(options.data),
            train=5_000,
            val=1_000,
            calib=1_000,
            test=5_000,
        ),
        input=InputConfig(height=64, width=64),
        finetune=FinetuneSection(
            architecture="resnet18",
            weights=options.weights,
            recipe="linear-probe",
            optimizer="adam",
            head_learning_rate=1e-3,
            weight_decay=0.0,
            epochs=30,
            patience=5,
            # The body is frozen: without augmentation its features are computed once.
            augment="none",
            pretrain=PretrainConfig(per_class=200, epochs=3),
        ),
    )
    if not options.quick:
        return whole
    assert whole.finetune is not None
    return replace(
        quick(whole),
        data=replace(whole.data, train=200, val=60, calib=60, test=300),
        input=InputConfig(height=32, width=32),
        finetune=replace(whole.finetune, weights="none", epochs=3),
    )


def look(wanted: ReleaseConfig, options: argparse.Namespace) -> dict[str, Any]:
    """The classifier on val, and two others on its softmax outputs, fitted on calib."""
    spec = wanted.input.single()
    fitted, fitted_labels = answers(options.out / RELEASE, "calib", spec)
    seen, labels = answers(options.out / RELEASE, "val", spec)
    before = {key: kept(options.out / RELEASE)[key] for key in ("top1", "nll", "ece", "entropy")}
    after = figures_of(seen, labels)
    others = {
        "logistic regression": LogisticRegression(max_iter=1_000),
        "SVM": SVC(),
    }
    scores = {"the classifier itself": after["top1"]}
    for name, model in others.items():
        model.fit(fitted, fitted_labels)
        scores[name] = float(model.score(seen, labels))
    for name, held in (("before", before), ("after", after)):
        print(
            f"val, {name} the temperature: top-1 {held['top1']:.4f}, NLL {held['nll']:.4f}, "
            f"ECE {held['ece']:.4f}, mean softmax entropy {held['entropy']:.4f} nats"
        )
    print(f"top-1 on {len(labels)} val images, others fitted on {len(fitted_labels)} calib images:")
    for name, score in scores.items():
        print(f"  {name:22} {score:.4f}")
    return {"before_temperature": before, "after_temperature": after, "top1_on_val": scores}


if __name__ == "__main__":
    sys.exit(main())
