"""The finetune stage: starting weights, a recipe, the best epoch kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from edgetl.pipeline.context import StageContext
from edgetl.pipeline.pretrain import letters_weights, training_progress
from edgetl.spec import ImageInput
from edgetl.train.config import FinetuneConfig
from edgetl.train.loop import finetune


def _default_augment(context: StageContext) -> Literal["none", "light"]:
    return "light" if isinstance(context.input, ImageInput) else "none"


def run(context: StageContext, out: Path) -> None:
    """Fine-tune the network; checkpoints live in the scratch folder, so a killed run resumes."""
    section = context.config.finetune
    weights = section.weights
    if weights == "letters":
        weights = str(
            letters_weights(
                section,
                context.input,
                threads=context.threads,
                reporter=context.reporter,
            )
        )

    result = finetune(
        FinetuneConfig(
            architecture=section.architecture,
            weights=weights,
            recipe=section.recipe,
            epochs=section.epochs,
            head_epochs=section.head_epochs,
            batch_size=section.batch_size,
            learning_rate=section.learning_rate,
            head_learning_rate=section.head_learning_rate,
            weight_decay=section.weight_decay,
            label_smoothing=section.label_smoothing,
            augment=section.augment or _default_augment(context),
            precision=section.precision,
            patience=section.patience,
            seed=context.config.seed,
            threads=context.threads,
        ),
        context.splits.load("train"),
        context.splits.load("val"),
        input=context.input,
        classes=context.splits.classes,
        out=context.scratch,
        progress=training_progress(context.reporter, section.architecture),
    )
    for name in ("model.safetensors", "classifier.json", "history.json"):
        shutil.copyfile(context.scratch / name, out / name)
    best = result.records[result.best_epoch - 1]
    context.reporter.note(
        f"kept epoch {best.epoch} of {len(result.records)}: val top-1 {best.top1:.4f}, "
        f"NLL {best.nll:.4f}, ECE {best.ece:.4f}, "
        f"mean entropy {best.entropy:.4f}"
    )
