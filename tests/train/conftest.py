"""Tiny splits that a network can learn: a bright square whose corner is the class."""

from __future__ import annotations

import numpy as np
import pytest

from edgetl.data.store import SplitPart


def corners(n: int, *, seed: int, side: int = 8) -> SplitPart:
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = generator.integers(0, 60, (n, side, side), dtype=np.uint8)
    half = side // 2
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[row * half : (row + 1) * half, column * half : (column + 1) * half] += 120
    ids = tuple(f"{seed:032x}{index:032x}" for index in range(n))
    return SplitPart(ids=ids, labels=labels.astype(np.int64), images=images)


@pytest.fixture
def train_part() -> SplitPart:
    return corners(24, seed=1)


@pytest.fixture
def val_part() -> SplitPart:
    return corners(15, seed=2)
