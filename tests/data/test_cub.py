from __future__ import annotations

from pathlib import Path

import pytest

from edgetl.data.sources import open_dataset, resolve_source, source_files, source_place
from edgetl.data.splits import make_splits
from tests.data.helpers.birds import make_cub
from tests.data.helpers.pictures import encoded, pixels


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    return make_cub(tmp_path / "CUB_200_2011")


def test_the_lists_are_joined_by_number_not_by_line(birds: Path) -> None:
    before = open_dataset(f"cub:{birds}")
    for name in ("image_class_labels.txt", "train_test_split.txt"):
        lines = (birds / name).read_text(encoding="utf-8").splitlines()
        (birds / name).write_text("\n".join(reversed(lines)), encoding="utf-8")
    after = open_dataset(f"cub:{birds}")
    assert before.classes == after.classes == ("001.Bird_0", "002.Bird_1", "003.Bird_2")
    assert before.labels.tolist() == after.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert after.given_split == ("train",) * 4 + ("test",) * 2 + after.given_split[:12]
    assert before.ids == after.ids and after.name == "cub:CUB_200_2011"


def test_classes_keep_the_order_of_their_list(birds: Path) -> None:
    (birds / "classes.txt").write_text("3 wren\n1 auk\n2 jay\n", encoding="utf-8")
    dataset = open_dataset(f"cub:{birds}")
    assert dataset.classes == ("wren", "auk", "jay")
    assert dataset.labels.tolist() == [1] * 6 + [2] * 6 + [0] * 6


def test_splits_respect_the_given_test_part(birds: Path) -> None:
    dataset = open_dataset(f"cub:{birds}")
    splits = make_splits(dataset, val=3, calib=3, test=None, train=None, seed=0)
    assert {dataset.given_split[at] for at in splits.test} == {"test"}
    assert {dataset.given_split[at] for at in splits.train} == {"train"}
    assert [len(part) for _, part in splits.items()] == [6, 3, 3, 6]


def test_its_files_are_the_lists_and_the_pictures(birds: Path) -> None:
    (birds / "bounding_boxes.txt").write_text("1 0 0 9 9\n", encoding="utf-8")
    before = source_files(f"cub:{birds}")
    assert len(before) == 4 + 18 and "bounding_boxes.txt" not in before
    picture = "images/001.Bird_0/Bird_0000.jpg"
    (birds / picture).write_bytes(encoded(pixels(99), "JPEG"))
    after = source_files(f"cub:{birds}")
    assert {name for name in after if after[name] != before[name]} == {picture}


def test_a_path_is_relative_to_the_config(birds: Path) -> None:
    assert resolve_source("cub:birds", birds.parent) == f"cub:{birds.parent / 'birds'}"
    assert source_place(f"cub:{birds}") == birds
