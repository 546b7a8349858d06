"""The finetune stage: starting weights, a recipe, the best epoch kept."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgetl.pipeline.config import training_config
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.pretrain import letters_weights, training_progress
from edgetl.train.loop import finetune


def run(context: StageContext, out: Path) -> None:
    """Fine-tune the network; checkpoints live in the scratch folder, so a killed run resumes."""
    section = context.config.finetune
    assert section is not None
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
        training_config(context.config, weights=weights),
        context.splits.load("train"),
        context.splits.load("val"),
        input=context.input,
        classes=context.splits.classes,
        out=context.scratch,
        progress=training_progress(context.reporter, section.architecture),
    )
    for name in ("model.safetensors", "classifier.json", "history.json"):
        shutil.copyfile(context.scratch / name, out / name)
    count = f"{context.threads} thread{'s' if context.threads > 1 else ''}"
    place = f"cpu, {count}" if result.device == "cpu" else result.device
    best = result.records[result.best_epoch - 1]
    context.reporter.note(
        f"kept epoch {best.epoch} of {len(result.records)}: val top-1 {best.top1:.4f}, "
        f"NLL {best.nll:.4f}, ECE {best.ece:.4f}, "
        f"mean entropy {best.entropy:.4f}; trained on {place}"
    )
