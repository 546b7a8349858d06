"""Fine-tuning: from a network with starting weights to its best checkpoint on val."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from edgetl.data.store import SplitPart
from edgetl.errors import CheckpointError
from edgetl.files import write_json
from edgetl.reference.checkpoint import save_classifier
from edgetl.reference.description import WEIGHTS_FILE, ClassifierDescription
from edgetl.spec import ClassifierInput, Head
from edgetl.train.assembly import (
    built_terms,
    depth_needed,
    lora_added,
    network_parts,
    started_head,
)
from edgetl.train.backbones import WeightsReport
from edgetl.train.class_weights import class_counts
from edgetl.train.config import FinetuneConfig
from edgetl.train.feed import Batches, ImageFeed, SourceData
from edgetl.train.history import history_of, kept_sentence
from edgetl.train.losses import data_loss
from edgetl.train.per_class import per_class
from edgetl.train.progress import Progress, TrainProgress
from edgetl.train.run import Run
from edgetl.train.session import (
    check_recipe,
    check_request,
    check_trainable,
    make_accelerator,
    reproducible,
    run_digest,
)
from edgetl.train.source_feed import source_feeds
from edgetl.train.starting_head import in_training_form
from edgetl.train.state import EpochRecord, best_record, best_weights
from edgetl.train.terms.base import TermMaker
from edgetl.train.trouble import is_divergence, with_last_good

__all__ = ["FinetuneConfig", "FinetuneResult", "SourceData", "TrainProgress", "finetune"]

HISTORY_FILE = "history.json"
CHECKPOINTS = "checkpoints"
LOGS = "logs"
LAST_GOOD = "last-good"


@dataclass(frozen=True, kw_only=True)
class FinetuneResult:
    """What a run made.

    Attributes:
        folder: Holds model.safetensors, classifier.json (temperature 1.0) and history.json.
        device: What it was trained on: ``"cpu"`` or ``"cuda"``.
        processes: How many trained together.
        best_epoch: Whose weights these are: the lowest NLL on val.
        records: One an epoch.
        weights: What the network started from.
        resumed_epochs: How many epochs an earlier, interrupted call had done.
        kept: Which epoch was kept and why, in a sentence.
        head_start: What the head started from, in a sentence; None where that was chance.
    """

    folder: Path
    device: str
    processes: int
    best_epoch: int
    records: tuple[EpochRecord, ...]
    weights: WeightsReport
    resumed_epochs: int
    kept: str = ""
    head_start: str | None = None


def finetune(
    config: FinetuneConfig,
    train: SplitPart,
    val: SplitPart,
    *,
    input: ClassifierInput,
    classes: tuple[str, ...],
    out: Path,
    progress: Progress | None = None,
    code: Path | None = None,
    terms: Sequence[TermMaker] = (),
    sources: Sequence[SourceData] = (),
    logs: Path | None = None,
) -> FinetuneResult:
    """Train a classifier and keep its best epoch on val.

    The same call on the same machine and threads writes the same model.safetensors, bit by bit,
    also when it was killed on the way and called again: it goes on after the last whole epoch
    under ``out/checkpoints``. States of a call with other settings or data are removed.
    Under `torchrun` or `accelerate launch` its processes train one classifier together, and the
    first one writes.

    Args:
        config: The recipe and its settings.
        train, val: Splits; every image is turned into the input's size once and kept in memory.
        input: What the classifier takes.
        classes: The labels, in the order of the outputs.
        out: The result's folder.
        progress: Told in the first process, after every step and every stored epoch.
        code: The folder that a ``python:`` architecture's module is imported from.
        terms: What is added to the loss; each is built once the starting weights are in.
        sources: Other labelled data, for the terms that train on it.
        logs: Where TensorBoard's event files go; ``out/logs`` when None.

    Returns:
        The folder, the best epoch, the history, and what was loaded at the start.

    Raises:
        ConfigError: For settings that do not fit one another.
        DataError: For splits that are too small or whose labels are no classes.
        CheckpointError: For weights that do not fit, a damaged checkpoint, or a loss that is not
            finite.
        ModelError: When the user's code fails, or its network's head cannot be found.
        UnavailableError: When the config's device is not here.
        MissingExtraError: When accelerate, torchvision or safetensors is not installed.

    Example:
        >>> import tempfile, numpy as np
        >>> from edgetl.spec import TensorInput
        >>> images = np.random.default_rng(0).integers(0, 256, (8, 2, 2), dtype=np.uint8)
        >>> part = SplitPart(ids=tuple("abcdefgh"), labels=np.arange(8) % 2, images=images)
        >>> config = FinetuneConfig(architecture="mlp", weights="none", recipe="full", epochs=2)
        >>> with tempfile.TemporaryDirectory() as out:
        ...     result = finetune(config, part, part, input=TensorInput(shape=(4,)),
        ...                       classes=("dark", "light"), out=Path(out))
        >>> len(result.records)
        2
    """
    check_request(config, train, val, input, classes)
    single = check_trainable(input)
    with reproducible(config):
        accelerator = make_accelerator(config)
        parts, report = network_parts(
            config, input=input, classes=classes, accelerator=accelerator, code=code
        )
        network, layer = parts.network, parts.layer
        check_recipe(
            config, layer, has_features=parts.has_features, terms=len(terms) + len(sources)
        )
        data = Batches.of(train, single)
        start = started_head(config, parts, data, classes)
        with in_training_form(network, layer, config.head_kind):
            feeds = source_feeds(sources, single, batch_size=config.batch_size)
            built = built_terms(terms, parts, classes, feeds)
            depth = depth_needed(config, parts, input)
            lora = lora_added(config, parts, input)
            counts = class_counts(data.labels.numpy(), len(classes))
            run = Run(
                config=config,
                parts=parts,
                train=data,
                val=Batches.of(val, single),
                loss=data_loss(config, torch.from_numpy(counts).to(accelerator.device)),
                folder=out / CHECKPOINTS,
                digest=run_digest(
                    config,
                    report,
                    train,
                    val,
                    input,
                    classes,
                    device=accelerator.device.type,
                    processes=accelerator.num_processes,
                    code=code,
                    terms=terms,
                    sources=sources,
                ),
                progress=progress,
                logs=logs or out / LOGS,
                terms=built,
                sources=feeds,
                depth=depth,
                head_decay=config.weight_decay if start is None else start.weight_decay,
            )
            resumed = run.resume()
            trouble = _trained(run)
            network.load_state_dict(best_weights(run.folder, run.records))
            if lora is not None:
                lora.merge()
    if accelerator.is_main_process:
        description = ClassifierDescription(
            architecture=config.architecture,
            input=input,
            head=Head(layer=layer, classes=classes),
            head_kind=config.head_kind,
            head_width=config.head_width,
        )
        place = out if trouble is None else out / LAST_GOOD
        save_classifier(place, network, description, code=code)
    if trouble is not None:
        best = best_record(run.records).epoch
        raise with_last_good(trouble, best, out / LAST_GOOD / WEIGHTS_FILE) from trouble
    result = FinetuneResult(
        folder=out,
        device=accelerator.device.type,
        processes=accelerator.num_processes,
        best_epoch=best_record(run.records).epoch,
        records=tuple(run.records),
        weights=report,
        resumed_epochs=resumed,
        kept=kept_sentence(config, run.records),
        head_start=None if start is None else start.sentence,
    )
    if accelerator.is_main_process:
        figures = per_class(
            ImageFeed(parts, run.train, run.val).validate(network), run.val.labels.numpy(), classes
        )
        history = history_of(
            config,
            run.records,
            device=result.device,
            processes=result.processes,
            weights=report,
            images={"train": len(train), "val": len(val), **_sizes(sources)},
            counts=counts,
            classes=classes,
            depth=depth,
            start=start,
            terms=terms,
            per_class=figures,
        )
        write_json(out / HISTORY_FILE, history)
    accelerator.wait_for_everyone()
    return result


def _trained(run: Run) -> CheckpointError | None:
    """Train to the end, or until the numbers are no longer finite: then the error, to be raised
    once the best epoch before is stored. Without one there is nothing to store.
    """
    try:
        run.train_all()
    except CheckpointError as error:
        if not is_divergence(error) or not run.records:
            raise
        return error
    return None


def _sizes(sources: Sequence[SourceData]) -> dict[str, int]:
    return {f"source {at}": len(source.part) for at, source in enumerate(sources, start=1)}
