"""The data stage: open the source, split it once, store the splits by content hash."""

from __future__ import annotations

from pathlib import Path

from edgetl.data.sources import open_dataset
from edgetl.data.splits import make_splits
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
        dataset, train=data.train, val=data.val, calib=data.calib, test=data.test, seed=data.seed
    )
    save_splits(out, dataset, splits)
    context.reporter.note(
        f"{dataset.name}: {len(splits.train)} train, {len(splits.val)} val, "
        f"{len(splits.calib)} calib, {len(splits.test)} test images, "
        f"{len(dataset.classes)} classes"
    )
