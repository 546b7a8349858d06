from __future__ import annotations

from pathlib import Path

import pytest

from edgetl.data.sources import open_dataset, source_files
from tests.data.helpers.birds import make_flowers

LABELS = [1, 2, 3, 1, 2, 3, 3, 2, 1]
PARTS = {"trnid": [9, 8, 7], "valid": [1, 2, 3], "tstid": [4, 5, 6]}


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    return make_flowers(tmp_path / "flowers", LABELS, PARTS)


def test_labels_and_parts_are_by_number(flowers: Path) -> None:
    dataset = open_dataset(f"flowers:{flowers}")
    assert dataset.classes == ("1", "2", "3") and dataset.name == "flowers:flowers"
    assert dataset.labels.tolist() == [label - 1 for label in LABELS]
    assert dataset.given_split == ("val",) * 3 + ("test",) * 3 + ("train",) * 3


def test_classes_can_be_given_names(flowers: Path) -> None:
    names = ("rose", "daisy", "iris")
    assert open_dataset(f"flowers:{flowers}", classes=names).classes == names


def test_matlabs_doubles_are_numbers_too(flowers: Path) -> None:
    import numpy as np
    from scipy.io import savemat

    savemat(flowers / "imagelabels.mat", {"labels": np.array([LABELS], np.float64)})
    assert len(open_dataset(f"flowers:{flowers}")) == 9


def test_its_files_are_the_two_and_the_pictures(flowers: Path) -> None:
    (flowers / "readme.txt").write_text("x", encoding="utf-8")
    found = source_files(f"flowers:{flowers}")
    assert len(found) == 11 and {"imagelabels.mat", "setid.mat", "jpg/image_00001.jpg"} <= set(
        found
    )
