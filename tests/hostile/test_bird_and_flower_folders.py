"""Folders like CUB's and Oxford's flowers that are not whole, or were made to do harm."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgetl.data.cub import MAX_LIST_BYTES
from edgetl.data.flowers import MAX_MAT_BYTES
from edgetl.data.sources import open_dataset, source_files
from edgetl.errors import DataError
from tests.data.helpers.birds import make_cub, make_flowers

PARTS = {"trnid": [1, 2], "valid": [3, 4], "tstid": [5, 6]}


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    return make_cub(tmp_path / "birds", classes=2, train=2, test=1)


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    return make_flowers(tmp_path / "flowers", [1, 2] * 3, PARTS)


def refused(source: str, *said: str) -> DataError:
    with pytest.raises(DataError) as caught:
        open_dataset(source)
    assert caught.value.exit_code == 2 and caught.value.fix
    for one in said:
        assert one in str(caught.value)
    return caught.value


def change(path: Path, what: Callable[[list[str]], list[str]]) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(what(lines)) + "\n", encoding="utf-8")


@pytest.mark.parametrize("kind", ["cub", "flowers"])
def test_a_missing_folder_and_a_file_for_a_folder(tmp_path: Path, kind: str) -> None:
    refused(f"{kind}:{tmp_path / 'absent'}", "no such folder")
    (tmp_path / "file").write_bytes(b"")
    refused(f"{kind}:{tmp_path / 'file'}", "a file")


@pytest.mark.parametrize("name", ["images", "image_class_labels", "classes", "train_test_split"])
def test_a_missing_list(birds: Path, name: str) -> None:
    (birds / f"{name}.txt").unlink()
    refused(f"cub:{birds}", f"no {name}.txt")


@pytest.mark.parametrize("name", ["image_class_labels", "train_test_split"])
def test_numbers_that_do_not_match(birds: Path, name: str) -> None:
    path = birds / f"{name}.txt"
    change(path, lambda lines: lines[:-1])
    refused(f"cub:{birds}", f"{name}.txt", "no line for picture 6")
    change(path, lambda lines: [*lines, "6 1", "77 1"])
    refused(f"cub:{birds}", f"{name}.txt", "picture 77, which images.txt has not")


@pytest.mark.parametrize("name", ["images", "image_class_labels", "classes", "train_test_split"])
@pytest.mark.parametrize(
    ("line", "said"), [("1 x", "1 again"), ("seven", "'seven'"), ("-7 1", "'-7 1'"), ("²  1", "²")]
)
def test_a_wrong_line_is_named(birds: Path, name: str, line: str, said: str) -> None:
    path = birds / f"{name}.txt"
    change(path, lambda lines: [*lines, line])
    refused(f"cub:{birds}", f"{name}.txt", "line ", said)


def test_a_class_that_is_not_listed_and_a_part_that_is_none(birds: Path) -> None:
    change(birds / "image_class_labels.txt", lambda lines: [*lines[:-1], "6 9"])
    refused(f"cub:{birds}", "class 9 of picture 6")
    change(birds / "image_class_labels.txt", lambda lines: [*lines[:-1], "6 2"])
    change(birds / "train_test_split.txt", lambda lines: [*lines[:-1], "6 2"])
    refused(f"cub:{birds}", "'2' for picture 6")


def test_a_class_without_pictures(birds: Path) -> None:
    change(birds / "classes.txt", lambda lines: [*lines, "3 003.Dodo"])
    refused(f"cub:{birds}", "no image of '003.Dodo'")


@pytest.mark.parametrize("path", ["../classes.txt", "/etc/passwd", "a/../../../x.jpg", "a\x1b[2J"])
def test_a_path_that_climbs_out(birds: Path, path: str) -> None:
    change(birds / "images.txt", lambda lines: [*lines[:-1], f"6 {path}"])
    error = refused(f"cub:{birds}", "picture 6")
    assert "\x1b" not in str(error)
    assert not any(".." in name or "passwd" in name for name in source_files(f"cub:{birds}"))


def test_links_and_missing_pictures_are_listed(birds: Path, tmp_path: Path) -> None:
    outside = make_cub(tmp_path / "elsewhere", classes=1)
    folder = birds / "images" / "001.Bird_0"
    (folder / "Bird_0000.jpg").unlink()
    (folder / "Bird_0001.jpg").unlink()
    (folder / "Bird_0001.jpg").symlink_to(outside / "images" / "001.Bird_0" / "Bird_0001.jpg")
    whole = birds / "images" / "002.Bird_1"
    whole.rename(tmp_path / "moved")
    whole.symlink_to(tmp_path / "moved")
    refused(
        f"cub:{birds}", "5 files", "0000.jpg: no such file", "0001.jpg: a symbolic link",
        "002.Bird_1/Bird_0000.jpg: a file outside",
    )  # fmt: skip
    assert len(source_files(f"cub:{birds}")) == 5


def test_lists_that_are_no_text_or_too_long_or_no_files(birds: Path) -> None:
    path = birds / "images.txt"
    path.write_bytes(b"1 \xff.jpg\n")
    refused(f"cub:{birds}", "images.txt", "0xff")
    with path.open("wb") as stream:
        stream.truncate(MAX_LIST_BYTES + 1)
    refused(f"cub:{birds}", "more than 16 MiB")
    path.unlink()
    path.symlink_to("/dev/zero")
    refused(f"cub:{birds}", "symbolic link")
    path.unlink()
    os.mkfifo(path)
    refused(f"cub:{birds}", "FIFO")


@pytest.mark.parametrize("name", ["imagelabels.mat", "setid.mat"])
def test_matlab_files_that_are_none(flowers: Path, name: str) -> None:
    path = flowers / name
    whole = path.read_bytes()
    for bad in (b"", b"MATLAB 5.0", whole[:60], whole[: len(whole) // 2], bytes(5000)):
        path.write_bytes(bad)
        refused(f"flowers:{flowers}", name)
    path.write_bytes(bytes(MAX_MAT_BYTES + 1))
    refused(f"flowers:{flowers}", name, "more than 256 KiB")
    path.unlink()
    refused(f"flowers:{flowers}", f"no {name}")
    path.symlink_to("/dev/zero")
    refused(f"flowers:{flowers}", "symbolic link")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.array([["a", "b"]]), "labels"),
        (np.array([[1.0, np.nan]]), "counts nothing"),
        (np.array([[1.0, 1.5]]), "counts nothing"),
        (np.array([[0, 1]]), "counts nothing"),
        (np.array([[1, 2**31]]), "counts nothing"),
        (np.array([[1, 900_000]]), "class 900000 and 2 pictures"),
        (np.array([[1, 2], [1, 2]]), "(2, 2)"),
        (np.zeros((1, 0)), "(1, 0)"),
        (np.array([[{}, {}]], object), "labels"),
    ],
)
def test_labels_that_are_no_row_of_numbers(flowers: Path, labels: object, said: str) -> None:
    from scipy.io import savemat

    savemat(flowers / "imagelabels.mat", {"labels": labels})
    refused(f"flowers:{flowers}", "imagelabels.mat", said)
    savemat(flowers / "imagelabels.mat", {"other": [[1, 2]]})
    refused(f"flowers:{flowers}", "no labels")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tstid": [5]}, "picture 6 in no part"),
        ({"tstid": [5, 6, 1]}, "picture 1 twice"),
        ({"tstid": [5, 6, 7]}, "picture 7 in tstid, and labels for 6"),
    ],
)
def test_parts_that_do_not_match(tmp_path: Path, change: dict[str, list[int]], said: str) -> None:
    folder = make_flowers(tmp_path / "f", [1, 2] * 3, PARTS | change)
    refused(f"flowers:{folder}", "setid.mat", said)


def test_flowers_that_are_missing_or_linked_are_listed(flowers: Path) -> None:
    (flowers / "jpg" / "image_00001.jpg").unlink()
    (flowers / "jpg" / "image_00002.jpg").unlink()
    (flowers / "jpg" / "image_00002.jpg").symlink_to("image_00003.jpg")
    refused(f"flowers:{flowers}", "2 files", "00001.jpg: no such file", "00002.jpg: a symbolic")
    assert len(source_files(f"flowers:{flowers}")) == 6


def test_a_category_without_pictures(tmp_path: Path) -> None:
    folder = make_flowers(tmp_path / "f", [1, 3] * 3, PARTS)
    refused(f"flowers:{folder}", "no image of '2'")
