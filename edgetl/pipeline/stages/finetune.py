"""The finetune stage: a recipe from starting weights, or a network that is trained already."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from edgetl.errors import CheckpointError
from edgetl.files import atomic_folder
from edgetl.pipeline.config import training_config
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.continual import read_previous, report_forgetting
from edgetl.pipeline.launch import check_devices, train_together
from edgetl.pipeline.pretrain import letters_weights, training_progress
from edgetl.pipeline.sections import FinetuneSection, ModelSection
from edgetl.pipeline.suspicious import find_suspicious
from edgetl.pipeline.transfer_terms import transfer_terms
from edgetl.reference.checkpoint import save_classifier
from edgetl.reference.description import ONNX_ARCHITECTURE, ClassifierDescription
from edgetl.reference.ending import OUTPUT
from edgetl.reference.onnx_checkpoint import save_onnx_classifier
from edgetl.reference.onnx_file import describe_onnx
from edgetl.reference.trained import trained_network
from edgetl.spec import Head
from edgetl.train.loop import LAST_GOOD, FinetuneResult, finetune
from edgetl.train.progress import Progress
from edgetl.train.trouble import last_good

LOGS = Path("logs") / "tensorboard"


def run(context: StageContext, out: Path) -> None:
    """Make the classifier's checkpoint.

    The training's own states live in the scratch folder, so that a killed run resumes.
    """
    config = context.config
    if config.model is not None:
        _take(context, config.model, out)
    else:
        assert config.finetune is not None
        _train(context, config.finetune, out)


def _take(context: StageContext, section: ModelSection, out: Path) -> None:
    """A classifier that is trained already, as a checkpoint like any other."""
    classes = context.splits.classes
    if section.onnx is not None:
        description = ClassifierDescription(
            architecture=ONNX_ARCHITECTURE,
            input=context.input,
            head=Head(layer=OUTPUT, classes=classes),
            output=section.output,
        )
        model = Path(section.onnx).read_bytes()
        save_onnx_classifier(out, model, description)
        found = describe_onnx(model, output=section.output)
        context.reporter.note(f"taken as it is: {Path(section.onnx).name}, {found.note}")
    else:
        assert section.architecture is not None and section.weights is not None
        network, description = trained_network(
            section.architecture,
            weights=section.weights,
            weights_entry=section.weights_entry,
            weights_prefix=section.weights_prefix,
            head=section.head,
            input=context.input,
            classes=classes,
            code=context.code,
        )
        save_classifier(out, network, description, code=context.code)
        context.reporter.note(
            f"taken as it is: {section.architecture}, head '{description.head.layer}'"
        )


def _train(context: StageContext, section: FinetuneSection, out: Path) -> None:
    # Before letters are pretrained, which takes minutes.
    check_devices(context.launch, section.device)
    weights = starting_weights(context, section)
    try:
        if context.launch.alone:
            result = train(context, weights)
        else:
            result = train_together(train, context, weights, context.launch)
    except CheckpointError as error:
        raise _kept_aside(context, error) from error
    for name in ("model.safetensors", "classifier.json", "history.json"):
        shutil.copyfile(context.scratch / name, out / name)
    count = f"{context.threads} thread{'s' if context.threads > 1 else ''}"
    place = f"cpu, {count}" if result.device == "cpu" else result.device
    if result.processes > 1:
        place += f", {result.processes} processes"
    best = result.records[result.best_epoch - 1]
    context.reporter.note(
        f"kept epoch {best.epoch} of {len(result.records)}: val top-1 {best.top1:.4f}, "
        f"NLL {best.nll:.4f}, ECE {best.ece:.4f}, "
        f"mean entropy {best.entropy:.4f}; trained on {place}"
    )
    if result.head_start is not None:
        context.reporter.note(result.head_start)
    _look_back(context, section, out, result.device)


def _kept_aside(context: StageContext, error: CheckpointError) -> CheckpointError:
    """The error of a run that diverged, with its last good weights where they stay.

    The scratch folder is thrown away as soon as the config changes, as the error says it must.
    """
    found = last_good(error)
    if found is None:
        return error
    good = context.folder.root / LAST_GOOD
    with atomic_folder(good) as folder:
        for file in found.parent.iterdir():
            shutil.copyfile(file, folder / file.name)
    fix = error.fix.replace(str(found), str(good / found.name))
    return CheckpointError(error.subject, got=error.got, expected=error.expected, fix=fix)


def _look_back(context: StageContext, section: FinetuneSection, out: Path, device: str) -> None:
    """What the trained classifier tells of its training images, and of what it was before."""
    if section.suspicious_labels:
        said = find_suspicious(
            out,
            context.splits.load("train"),
            out=out,
            source=context.config.data.source,
            code=context.code,
            device=device,
        )
        context.reporter.note(said)
    if section.previous is not None:
        run = None if section.previous.run is None else Path(section.previous.run)
        before = read_previous(Path(section.previous.classifier), run=run, code=context.code)
        val = context.splits.load("val")
        seen = context.splits.ids("train")
        forgetting = report_forgetting(before, out, val=val, seen=seen, code=context.code)
        if forgetting is not None:
            context.reporter.note(forgetting.sentence)


def starting_weights(context: StageContext, section: FinetuneSection) -> str:
    """The section's weights, "letters" pretrained first, where they are not in the cache."""
    if section.weights != "letters":
        return section.weights
    made = letters_weights(
        section,
        context.input,
        threads=context.threads,
        reporter=context.reporter,
        code=context.code,
    )
    return str(made)


def train(
    context: StageContext, weights: str, share: int = 1, progress: Progress | None = None
) -> FinetuneResult:
    """Train in this process: the only one, or one of those that a launcher started.

    Args:
        context: The stage's; the training's states and its result go to the scratch folder.
        weights: What to start from: the section's, or the file that "letters" became.
        share: How many processes share this machine's threads.
        progress: Told in place of the context's reporter, of a training that is no stage's: its
            logs are beside its states then.
    """
    config = training_config(context.config, weights=weights)
    threads = max(1, context.threads // share)
    transfer = transfer_terms(context, weights)
    if transfer.weights is not None:
        config = replace(config, weights=str(transfer.weights))
    return finetune(
        replace(config, threads=threads),
        context.splits.load("train"),
        context.splits.load("val"),
        input=context.input,
        classes=context.splits.classes,
        out=context.scratch,
        progress=progress or training_progress(context.reporter, config.architecture),
        code=context.code,
        terms=transfer.terms,
        sources=transfer.sources,
        logs=None if progress is not None else _logs(context),
    )


def _logs(context: StageContext) -> Path:
    """A folder for TensorBoard that outlives the stage; each config has its own there."""
    return context.folder.root / LOGS / f"finetune-{context.scratch.name[:8]}"
