"""The data stage: open the source, split it once, store the splits by content hash."""

from __future__ import annotations

from pathlib import Path

from edgetl.data.dataset import Dataset
from edgetl.data.sources import open_dataset
from edgetl.data.splits import Splits, make_splits
from edgetl.data.store import save_splits
from edgetl.pipeline.context import StageContext


def run(context: StageContext, out: Path) -> None:
    """Make the four splits."""
    data = context.config.data
    dataset = open_dataset(
        data.source,
        classes=data.classes,
        progress=lambda done, total: context.reporter.progress("reading", done, total),
    )
    splits = make_splits(
        dataset,
        train=data.train,
        val=data.val,
        calib=data.calib,
        test=data.test,
        seed=data.seed,
        per_class=data.per_class,
        trained_elsewhere=context.config.model is not None,
    )
    save_splits(out, dataset, splits)
    context.reporter.note(
        f"{dataset.name}: {len(splits.train)} train, {len(splits.val)} val, "
        f"{len(splits.calib)} calib, {len(splits.test)} test images, "
        f"{len(dataset.classes)} classes"
    )
    for note in (few_of(dataset, splits, data.per_class), calib_from(dataset, splits)):
        if note is not None:
            context.reporter.note(note)


def few_of(dataset: Dataset, splits: Splits, per_class: int | None) -> str | None:
    """Say what training with so many images of each class leaves unused; None without a number."""
    if per_class is None:
        return None
    used = sum(len(indices) for _, indices in splits.items())
    return f"train: {per_class} images of each class; {len(dataset) - used} images are not used"


def calib_from(dataset: Dataset, splits: Splits) -> str | None:
    """Say which of the source's parts lent the calib split; None when it gives no parts."""
    if dataset.given_split is None or not len(splits.calib):
        return None
    part = dataset.given_split[int(splits.calib[0])]
    if part == "calib":
        return None
    note = f"calib: {len(splits.calib)} images of the given {part} part"
    if part != "train":
        return note
    given = dataset.given_split.count("val")
    why = f", for val/ has {given} images and val + calib need "
    return note + (why + str(len(splits.val) + len(splits.calib)) if given else "")
