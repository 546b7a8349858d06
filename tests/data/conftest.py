from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from edgetl.data.dataset import Dataset, content_ids

MakeDataset = Callable[..., Dataset]


@pytest.fixture
def make_dataset() -> MakeDataset:
    """A dataset of random 4 × 4 images with the given number of images of each class."""

    def make(
        counts: Sequence[int], *, given_split: tuple[str, ...] | None = None, seed: int = 0
    ) -> Dataset:
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        images = rng.integers(256, size=(len(labels), 4, 4), dtype=np.uint8)
        return Dataset(
            name="toy",
            images=images,
            labels=labels,
            classes=tuple(f"class {i}" for i in range(len(counts))),
            ids=content_ids(images),
            given_split=given_split,
        )

    return make
