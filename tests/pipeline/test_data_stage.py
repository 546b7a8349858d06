from __future__ import annotations

import numpy as np
import pytest

from edgetl.data.dataset import Dataset, content_ids
from edgetl.data.splits import make_splits
from edgetl.pipeline.stages.data import calib_from, few_of


def dataset(parts: tuple[str, ...] | None) -> Dataset:
    images = np.random.default_rng(0).integers(256, size=(60, 4, 4), dtype=np.uint8)
    return Dataset(
        name="toy",
        images=images,
        labels=np.arange(60) % 2,
        classes=("a", "b"),
        ids=content_ids(images),
        given_split=parts,
    )


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (None, None),
        (("train",) * 40 + ("calib",) * 20, None),
        (("train",) * 40 + ("val",) * 20, "calib: 8 images of the given val part"),
        (("train",) * 60, "calib: 8 images of the given train part"),
        (
            ("train",) * 50 + ("val",) * 10,
            "calib: 8 images of the given train part, for val/ has 10 images and val + calib "
            "need 14",
        ),
    ],
)
def test_where_calib_came_from_is_said(parts: tuple[str, ...] | None, said: str | None) -> None:
    toy = dataset(parts)
    assert calib_from(toy, make_splits(toy, val=6, calib=8, test=4, train=None, seed=0)) == said


def test_what_shots_leave_unused_is_said() -> None:
    toy = dataset(None)
    splits = make_splits(toy, val=6, calib=8, test=4, train=None, seed=0, per_class=3)
    assert few_of(toy, splits, 3) == ("train: 3 images of each class; 36 images are not used")
    assert few_of(toy, splits, None) is None
