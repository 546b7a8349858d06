"""Whether transfer helped or harmed: the same images and budget from other starts.

Two baselines: a network of the same architecture from random weights, and the source model's
frozen features with a linear head solved on the target's images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from edgetl.data.letters import render_letters
from edgetl.data.store import SplitPart
from edgetl.errors import DataError, ModelError
from edgetl.files import write_json
from edgetl.pipeline.config import training_config
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.pretrain import training_progress
from edgetl.pipeline.source_data import open_source
from edgetl.pipeline.starting_network import StartingNetwork
from edgetl.pipeline.transfer_check import (
    BASELINES,
    TRANSFER_FILE,
    Baseline,
    Difference,
    Side,
    TransferCheck,
    side,
)
from edgetl.pipeline.transfer_terms import previous_start
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.network import Reference
from edgetl.spec import SingleInput
from edgetl.train.config import FinetuneConfig
from edgetl.train.domain_gap import domain_gap
from edgetl.train.evaluate import in_batches
from edgetl.train.feed import Batches
from edgetl.train.loop import finetune
from edgetl.train.progress import Progress
from edgetl.train.recipes import phases
from edgetl.train.session import check_trainable, chosen_device
from edgetl.train.solve_head import choose_weight_decay, solve_head

# What weights that know nothing are usually trained with: Adam's own default (Kingma and Ba 2015,
# arXiv:1412.6980), and a tenth of He et al.'s 0.1 for batches of 256 (arXiv:1512.03385).
_USUAL_RATE = {"adamw": 1e-3, "adam": 1e-3, "sgd": 1e-2}
_USUAL_DECAY = 1e-2
_MOST_CROSS_VALIDATED = 2000
_MOST_COMPARED = 500
_LETTERS_PER_CLASS = 20


def check_transfer(
    config: FinetuneConfig,
    train: SplitPart,
    val: SplitPart,
    *,
    input: SingleInput,
    classes: tuple[str, ...],
    trained: Path,
    out: Path,
    baselines: tuple[Baseline, ...] = BASELINES,
    source: SplitPart | None = None,
    code: Path | None = None,
    progress: Progress | None = None,
) -> TransferCheck:
    """Hold a classifier that was fine-tuned against what other starts reach, on val.

    ``from-scratch`` trains `scratch_config`: all parameters from random weights, on the same
    images for as many epochs, with no source data and no other term. ``source-model`` trains no
    body: a linear head is solved on the starting weights' features, its weight decay chosen by
    cross-validation on train. Answers are compared image by image. Each is one run: the intervals
    are about the images, not about seeds. Both sides chose their epoch on val.

    Args:
        config: What the classifier was trained with.
        train, val: The splits.
        input: What the classifier takes.
        classes: The labels, in the order of the outputs.
        trained: The classifier's folder: model.safetensors and classifier.json.
        out: For the baseline's own states, so that a killed check goes on where it was.
        baselines: Which to make.
        source: Labelled or unlabelled images of the source, for the gap; None measures none.
        code: The folder of a ``python:`` architecture's module.
        progress: Told while the baseline trains.

    Raises:
        EdgetlError: What training refuses, or loading the classifier.
    """
    kept = _without_copies(val)
    place = torch.device(chosen_device(config.device))
    this, right = side(_answers(trained, kept, place, code), kept.labels)
    found: dict[Baseline, Side] = {}
    differences: dict[Baseline, Difference] = {}
    missing: dict[Baseline, str] = {}
    start = StartingNetwork(config, input=input, classes=classes, place=place, code=code)
    for name in baselines:
        if (why := _misses(config, name)) is not None:
            missing[name] = why
            continue
        try:
            if name == "from-scratch":
                raw_logits, notes = _from_scratch(
                    config, train, val, kept, start, out=out / name, progress=progress
                )
            else:
                raw_logits, notes = _source_model(start, train, kept)
        except (DataError, ModelError) as error:
            missing[name] = f"{error.subject}: {error.got}"
            continue
        found[name], baseline_right = side(raw_logits, kept.labels, **notes)
        differences[name] = Difference.of(baseline_right, right)
    return TransferCheck(
        this=this,
        baselines=found,
        differences=differences,
        missing=missing,
        gap=None if source is None else _gap(start, source, train),
    )


def check_finetuned(
    context: StageContext,
    weights: str,
    *,
    trained: Path,
    out: Path,
    baselines: tuple[Baseline, ...] = BASELINES,
) -> TransferCheck:
    """`check_transfer` of what a stage trained, written to ``out/transfer.json`` and said.

    Args:
        context: Of the finetune stage, or one like it: its config, splits and voice. The
            baseline's own states go to its scratch folder.
        weights: What training started from: the section's, or the file that "letters" became. A
            previous classifier takes its place.
        trained: The classifier's folder.
        out: Where the document goes.
        baselines: Which to make.

    Raises:
        EdgetlError: As `check_transfer`.
    """
    reporter, section = context.reporter, context.config.finetune
    if section is not None and section.previous is not None:
        weights = str(previous_start(context, section.previous)[1])
    found = check_transfer(
        replace(training_config(context.config, weights=weights), threads=context.threads),
        context.splits.load("train"),
        context.splits.load("val"),
        input=check_trainable(context.input),
        classes=context.splits.classes,
        trained=trained,
        out=context.scratch / "baselines",
        baselines=baselines,
        source=_source_part(context),
        code=context.code,
        progress=training_progress(reporter, "from-scratch baseline"),
    )
    write_json(out / TRANSFER_FILE, found.to_json())
    if found.gap is not None and "sentence" in found.gap:
        reporter.note(f"{found.gap['sentence']}")
    reporter.note(found.sentence)
    return found


def _source_part(context: StageContext) -> SplitPart | None:
    """Images of the source: the named data, or letters like those that weights were made on."""
    section = context.config.finetune
    if section is None:
        return None
    if section.source is not None:
        return open_source(context, section.source).part
    if section.weights != "letters":
        return None
    letters = render_letters(_LETTERS_PER_CLASS, seed=2)
    return SplitPart(ids=letters.ids, labels=letters.labels, images=letters.images)


def scratch_config(config: FinetuneConfig) -> FinetuneConfig:
    """The same budget from random weights: every parameter trains, in as many epochs.

    The rate is the config's, or the optimiser's usual one where that is higher: a rate that suits
    trained weights is too low for random ones, and a baseline held down shows nothing.

    Example:
        >>> config = FinetuneConfig(architecture="mlp", weights="body.safetensors",
        ...                         recipe="two-stage", epochs=4, head_epochs=2)
        >>> scratch = scratch_config(config)
        >>> scratch.recipe, scratch.epochs, scratch.learning_rate
        ('full', 6, 0.001)
    """
    defaults = {field.name: field.default for field in fields(config)}
    of_recipes = (
        *("train_from", "layer_decay", "choose_weight_decay"),
        *("lora_rank", "lora_alpha", "lora_layers"),
    )
    return replace(
        config,
        weights="none",
        recipe="full",
        epochs=sum(phase.epochs for phase in phases(config)),
        learning_rate=max(config.learning_rate, _USUAL_RATE[config.optimizer]),
        **{name: cast(Any, defaults[name]) for name in of_recipes},
    )


def _misses(config: FinetuneConfig, baseline: Baseline) -> str | None:
    """Why a baseline cannot be made, if it cannot."""
    if baseline == "from-scratch" and config.weights == "factory":
        return "only the factory knows what its network starts from"
    if baseline == "source-model" and config.weights == "none":
        return "training started from random weights"
    return None


def _from_scratch(
    config: FinetuneConfig,
    train: SplitPart,
    val: SplitPart,
    kept: SplitPart,
    start: StartingNetwork,
    *,
    out: Path,
    progress: Progress | None,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    scratch = scratch_config(config)
    result = finetune(
        scratch,
        train,
        val,
        input=start.input,
        classes=start.classes,
        out=out,
        progress=progress,
        code=start.code,
    )
    notes = {
        "epochs": scratch.epochs,
        "best_epoch": result.best_epoch,
        "learning_rate": scratch.learning_rate,
    }
    return _answers(out, kept, start.place, start.code), notes


def _source_model(
    start: StartingNetwork, train: SplitPart, kept: SplitPart
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    features, names = start.features(train), start.classes
    decay = _weight_decay(features, train.labels, names)
    weight, bias = solve_head(features, train.labels, names, weight_decay=decay)
    return start.features(kept) @ weight.T + bias, {"weight_decay": decay}


def _weight_decay(
    features: NDArray[np.float32], labels: NDArray[np.int64], classes: tuple[str, ...]
) -> float:
    """By cross-validation, of the first images only where there are many."""
    some = slice(_MOST_CROSS_VALIDATED)
    counts = np.bincount(labels[some], minlength=len(classes))
    if counts.min() < 2:
        return _USUAL_DECAY
    return choose_weight_decay(features[some], labels[some], classes).weight_decay


def _answers(
    folder: Path, part: SplitPart, place: torch.device, code: Path | None
) -> NDArray[np.float32]:
    """A classifier's raw logits, [n, K]."""
    network, description = load_classifier(folder, code=code)
    input = cast(SingleInput, description.input)
    reference = Reference.of(network, input, description.head).to(place).eval()
    inputs = Batches.of(part, input).inputs
    raw_logits = in_batches(lambda batch: reference(batch)[1], inputs, place)
    return cast("NDArray[np.float32]", raw_logits.numpy())


def _without_copies(part: SplitPart) -> SplitPart:
    """Each image once: a copy is no further evidence."""
    return _chosen(part, np.unique(np.asarray(part.ids), return_index=True)[1])


def _chosen(part: SplitPart, indices: NDArray[np.int64]) -> SplitPart:
    at = np.sort(indices)
    return SplitPart(
        ids=tuple(part.ids[one] for one in at), labels=part.labels[at], images=part.images[at]
    )


def _gap(start: StartingNetwork, source: SplitPart, train: SplitPart) -> Mapping[str, Any]:
    """By the features of the network that training started from."""
    try:
        gap = domain_gap(start.features(_drawn(source)), start.features(_drawn(train)))
    except (DataError, ModelError) as error:
        return {"not_measured": f"{error.subject}: {error.got}"}
    of = "random" if start.config.weights == "none" else "starting"
    return {**gap.to_json(), "features": f"of the network with its {of} weights"}


def _drawn(part: SplitPart) -> SplitPart:
    """As many images as are compared: a network need not see the others."""
    if len(part) <= _MOST_COMPARED:
        return part
    rng = np.random.default_rng(0)
    return _chosen(part, rng.choice(len(part), _MOST_COMPARED, replace=False))
