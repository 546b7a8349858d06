"""The labelled data of another task that a training sees beside its own, opened and checked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgetl.data.dataset import Dataset
from edgetl.data.preprocess import to_inputs
from edgetl.data.samples import EncodedImages, SeveralSamples
from edgetl.data.sources import open_dataset
from edgetl.data.store import SplitPart, SplitStore
from edgetl.errors import DataError, SpecError
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.sections import SourceSection
from edgetl.spec import ClassifierInput, ImageInput, SeveralInputs
from edgetl.train.feed import SourceData

_HELD_OUT = ("val", "calib", "test")
_NAMED = 5


def open_source(context: StageContext, section: SourceSection) -> SourceData:
    """The source of ``[finetune.source]``, less what it gives as a test part of its own.

    Args:
        context: The stage's: the target's input and splits, of which only ids are read.
        section: Names the data, how many images of each class, and the batch size.

    Raises:
        DataError: For data that cannot be read, samples that do not fit the target's input, a
            class with fewer images than were asked for, or an image that the target's val, calib
            or test split has too.
    """
    dataset = open_dataset(
        section.data,
        progress=lambda done, total: context.reporter.progress("reading the source", done, total),
    )
    check_fits(dataset, context.input)
    check_apart(dataset, context.splits)
    chosen = dataset.subset(_chosen(dataset, section.per_class, context.config.seed))
    part = SplitPart(ids=chosen.ids, labels=chosen.labels, images=chosen.images)
    context.reporter.note(
        f"source {dataset.name}: {len(part)} images, {len(dataset.classes)} classes"
    )
    return SourceData(part=part, classes=dataset.classes, batch_size=section.batch_size)


def check_fits(dataset: Dataset, input: ClassifierInput) -> None:
    """Refuse a source that the target's network cannot see.

    Raises:
        DataError: Saying what both are: another shape, other channels, or several inputs.
    """
    samples, grey = dataset.images, isinstance(input, ImageInput) and input.channels == "grey"
    try:
        to_inputs(samples[:1], input)
        coloured = isinstance(samples, np.ndarray) and samples.ndim == 4
        if not (grey and coloured):
            return
    except (DataError, SpecError) as error:
        reason: Exception | None = error
    else:
        reason = None
    raise DataError(
        f"source {dataset.name}",
        got=_kind(dataset),
        expected=f"samples for the target's input, {_wanted(input)}",
        fix="convert the source to the target's shape and channels, or take another source",
    ) from reason


def check_apart(dataset: Dataset, splits: SplitStore) -> None:
    """Refuse a source that has an image, by content, on which the classifier is to be judged.

    Raises:
        DataError: Saying in which split, how many, and the first one's id.
    """
    ids = set(dataset.ids)
    for name in _HELD_OUT:
        shared = sorted(ids & set(splits.ids(name)))
        if shared:
            raise DataError(
                f"source {dataset.name}",
                got=f"{len(shared)} images of the target's {name} split, first {shared[0][:12]}…",
                expected="no image on which the classifier is judged or calibrated",
                fix="take these images out of the source",
            )


def _chosen(dataset: Dataset, per_class: int | None, seed: int) -> NDArray[np.int64]:
    given = dataset.given_split or ("train",) * len(dataset)
    pool = np.array([at for at, split in enumerate(given) if split != "test"], np.int64)
    if not len(pool):
        pool = np.arange(len(dataset))
    counts = np.bincount(dataset.labels[pool], minlength=len(dataset.classes))
    least = 1 if per_class is None else per_class
    short = [label for label, count in enumerate(counts) if count < least]
    if short:
        named = ", ".join(f"{dataset.classes[one]!r} has {counts[one]}" for one in short[:_NAMED])
        raise DataError(
            f"source {dataset.name}",
            got=named + (f" and {len(short) - _NAMED} more" if len(short) > _NAMED else ""),
            expected=f"at least {least} images of each class outside of its test part",
            fix="lower per_class in [finetune.source], or add images",
        )
    if per_class is None:
        return pool
    rng = np.random.default_rng(seed)
    labels = dataset.labels[pool]
    each = [rng.permutation(pool[labels == label])[:per_class] for label in range(len(counts))]
    return np.sort(np.concatenate(each))


def _kind(dataset: Dataset) -> str:
    samples = dataset.images
    if isinstance(samples, SeveralSamples):
        return f"the inputs {', '.join(samples.parts)}"
    if isinstance(samples, EncodedImages):
        return "pictures in colour"
    return f"{samples.dtype} {list(samples.shape[1:])} each"


def _wanted(input: ClassifierInput) -> str:
    if isinstance(input, SeveralInputs):
        return f"the inputs {', '.join(input.parts)}"
    colour = f", {input.channels}" if isinstance(input, ImageInput) else ""
    return f"{input.tensor.dtype} {list(input.tensor.shape[1:])}{colour}"
