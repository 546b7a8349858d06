"""Fine-tuning: from a network with starting weights to its best checkpoint on val."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from edgetl.data.store import SplitPart
from edgetl.files import write_json
from edgetl.reference.architectures import HEADS
from edgetl.reference.checkpoint import ClassifierDescription, save_classifier
from edgetl.reference.ending import find_answer
from edgetl.reference.heads import find_head_layer, head_layer
from edgetl.reference.network import build_network
from edgetl.reference.preprocess import Preprocess
from edgetl.reference.user_code import USER_CODE
from edgetl.spec import ClassifierInput, Head, ImageInput
from edgetl.train.backbones import WeightsReport, load_weights
from edgetl.train.config import FinetuneConfig
from edgetl.train.feed import Batches, Parts, SourceData
from edgetl.train.progress import Progress, TrainProgress
from edgetl.train.run import Run
from edgetl.train.session import (
    check_recipe,
    check_request,
    check_trainable,
    described_config,
    make_accelerator,
    reproducible,
    run_digest,
)
from edgetl.train.state import EpochRecord, best_record, best_weights
from edgetl.train.terms.base import TermMaker

__all__ = ["FinetuneConfig", "FinetuneResult", "SourceData", "TrainProgress", "finetune"]

HISTORY_SCHEMA = "edgetl.history/1"
HISTORY_FILE = "history.json"
CHECKPOINTS = "checkpoints"


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
    """

    folder: Path
    device: str
    processes: int
    best_epoch: int
    records: tuple[EpochRecord, ...]
    weights: WeightsReport
    resumed_epochs: int


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
    if terms or sources:
        raise NotImplementedError
    check_request(config, train, val, input, classes)
    single = check_trainable(input)
    with reproducible(config):
        accelerator = make_accelerator(config)
        network = build_network(config.architecture, len(classes), input, code=code)
        head = Head(layer=_head_of(network, config, input, classes), classes=classes)
        check_recipe(config, head.layer)
        report = load_weights(
            network,
            config.weights,
            config.architecture,
            head=head,
            input=input,
        )
        answer = find_answer(network, input=input, head=head)
        network.to(accelerator.device)
        # The layout in which convolutions are faster, on CPU and CUDA alike; a user's own network
        # may call `view`, which takes no other layout than the plain one.
        reordered = isinstance(input, ImageInput) and not config.architecture.startswith(USER_CODE)
        if reordered:
            network.to(memory_format=torch.channels_last)
        run = Run(
            config=config,
            parts=Parts(
                accelerator=accelerator,
                network=network,
                layer=head.layer,
                preprocess=Preprocess(single, contiguous=not reordered).to(accelerator.device),
                augment=config.augment,
                answer=answer,
            ),
            train=Batches.of(train, single),
            val=Batches.of(val, single),
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
            ),
            progress=progress,
        )
        resumed = run.resume()
        run.train_all()
        network.load_state_dict(best_weights(run.folder, run.records))
    result = FinetuneResult(
        folder=out,
        device=accelerator.device.type,
        processes=accelerator.num_processes,
        best_epoch=best_record(run.records).epoch,
        records=tuple(run.records),
        weights=report,
        resumed_epochs=resumed,
    )
    if accelerator.is_main_process:
        description = ClassifierDescription(
            architecture=config.architecture, input=input, head=head
        )
        save_classifier(out, network, description, code=code)
        write_json(out / HISTORY_FILE, _history(config, result, len(train), len(val)))
    accelerator.wait_for_everyone()
    return result


def _head_of(
    network: nn.Module, config: FinetuneConfig, input: ClassifierInput, classes: tuple[str, ...]
) -> str:
    """The head that the config names, that the architecture is known to have, or that is found."""
    known = config.architecture in HEADS
    named = head_layer(network, config.architecture) if known else None
    return find_head_layer(network, input, classes, named if config.head is None else config.head)


def _history(
    config: FinetuneConfig, result: FinetuneResult, train: int, val: int
) -> dict[str, object]:
    """The same after an undisturbed run and a resumed one."""
    return {
        "schema": HISTORY_SCHEMA,
        "config": described_config(config),
        "device": result.device,
        "processes": result.processes,
        "weights": asdict(result.weights),
        "images": {"train": train, "val": val},
        "best_epoch": result.best_epoch,
        "epochs": [asdict(record) for record in result.records],
    }
