"""The ptq samples: training images, drawn once, whose activations set the INT8 ranges."""

from __future__ import annotations

import numpy as np

from edgetl.data.store import SplitPart
from edgetl.pipeline.context import StageContext


def ptq_part(context: StageContext) -> SplitPart:
    """The same training images in every stage that asks: the gate checks that none is tested."""
    train = context.splits.load("train")
    count = min(context.config.quantize.ptq_samples, len(train))
    generator = np.random.default_rng(context.config.seed)
    chosen = np.sort(generator.choice(len(train), size=count, replace=False))
    return SplitPart(
        ids=tuple(train.ids[index] for index in chosen),
        labels=train.labels[chosen],
        images=train.images[chosen],
    )
