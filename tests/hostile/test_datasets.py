"""Datasets that are missing, damaged, lying or unfit: one clear error each."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgetl.data.sources import open_dataset
from edgetl.data.splits import make_splits
from edgetl.data.store import save_splits
from edgetl.errors import DataError

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"


def idx(array: np.ndarray, *, claims: tuple[int, ...] | None = None, code: int = 8) -> bytes:
    shape = claims or array.shape
    head = struct.pack(f">4B{len(shape)}I", 0, 0, code, len(shape), *shape)
    return head + array.astype(np.uint8).tobytes()


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(count, 6, 6), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        TRAIN_IMAGES: images(60),
        TRAIN_LABELS: np.arange(60) % 3,
        TEST_IMAGES: images(30, seed=1),
        TEST_LABELS: np.arange(30) % 3,
    }
    for name, array in files.items():
        (tmp_path / name).write_bytes(idx(array))
    return tmp_path


def refused(folder: Path, got: str) -> DataError:
    with pytest.raises(DataError, match=got) as caught:
        open_dataset(f"idx:{folder}")
    assert str(folder) in str(caught.value)
    assert caught.value.exit_code == 2
    return caught.value


def test_the_folder_is_right_to_begin_with(folder: Path) -> None:
    assert len(open_dataset(f"idx:{folder}")) == 90


def test_a_missing_folder_and_a_file_for_a_folder(tmp_path: Path) -> None:
    refused(tmp_path / "absent", "no such folder")
    (tmp_path / "file").write_bytes(b"")
    refused(tmp_path / "file", "a file")


def test_an_empty_folder(tmp_path: Path) -> None:
    refused(tmp_path, f"no {TRAIN_IMAGES}")


@pytest.mark.parametrize("name", [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS])
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    refused(folder, f"no {name}")


@pytest.mark.parametrize("length", [0, 1, 3, 4, 15, 16, 17, 16 + 60 * 36 - 1])
@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_file(folder: Path, length: int, packed: bool) -> None:
    path = folder / TRAIN_IMAGES
    data = path.read_bytes()[:length]
    path.unlink()
    if packed:
        path = folder / f"{TRAIN_IMAGES}.gz"
        data = gzip.compress(data)
    path.write_bytes(data)
    assert TRAIN_IMAGES in str(refused(folder, "truncated|header|hold|first bytes"))


def test_a_truncated_or_damaged_gzip_file(folder: Path) -> None:
    plain = folder / TRAIN_IMAGES
    data = gzip.compress(plain.read_bytes())
    plain.unlink()
    packed = folder / f"{TRAIN_IMAGES}.gz"
    wrong_checksum = data[:-8] + bytes(4) + data[-4:]
    for bad in (data[: len(data) // 2], data[:5], b"", b"not gzip at all", wrong_checksum):
        packed.write_bytes(bad)
        assert packed.name in refused(folder, ".").subject
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 0xFF
    packed.write_bytes(damaged)
    assert packed.name in refused(folder, ".").subject


def test_bytes_after_the_end(folder: Path) -> None:
    with (folder / TRAIN_LABELS).open("ab") as stream:
        stream.write(b"x")
    refused(folder, "after the last value")


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG" + bytes(4000),
        idx(images(60), code=13),
        idx(np.arange(60)),
        bytes([0, 0, 8, 4]) + bytes(4000),
        b"\x1f\x8b" + bytes(4000),
    ],
    ids=["png", "floats", "one dimension", "four dimensions", "gzip without .gz"],
)
def test_a_wrong_magic_number(folder: Path, data: bytes) -> None:
    (folder / TRAIN_IMAGES).write_bytes(data)
    assert "00000803" in refused(folder, "first bytes").expected


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "claims", [(2**32 - 1, 2**32 - 1, 2**32 - 1), (10**6, 1000, 1000), (65536, 65536, 4096)]
)
def test_a_header_that_claims_terabytes_allocates_nothing(
    folder: Path, claims: tuple[int, int, int], packed: bool
) -> None:
    path = folder / TRAIN_IMAGES
    data = idx(images(60), claims=claims)
    path.unlink()
    (folder / f"{TRAIN_IMAGES}.gz" if packed else path).write_bytes(
        gzip.compress(data) if packed else data
    )
    peak, message = peak_kilobytes(folder)
    assert "claims" in message
    assert peak < 20_000


def test_a_gzip_bomb_stops_where_the_header_says(folder: Path) -> None:
    path = folder / TRAIN_IMAGES
    head = path.read_bytes()
    path.unlink()
    with gzip.open(folder / f"{TRAIN_IMAGES}.gz", "wb") as stream:
        stream.write(head)
        for _ in range(200):
            stream.write(bytes(1 << 20))
    peak, message = peak_kilobytes(folder)
    assert "after the last value" in message
    assert peak < 20_000


def peak_kilobytes(folder: Path) -> tuple[int, str]:
    program = f"""
from pathlib import Path
from edgetl.data.sources import open_dataset
from edgetl.errors import DataError
def peak():
    # Not ru_maxrss: a child inherits its parent's.
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
try:
    open_dataset("idx:{folder}")
except DataError as error:
    print(peak() - before)
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    peak, message = run.stdout.split("\n", 1)
    return int(peak), message


def test_counts_that_differ(folder: Path) -> None:
    (folder / TRAIN_LABELS).write_bytes(idx(np.arange(59) % 3))
    refused(folder, "60 images and 59 labels")


def test_image_sizes_that_differ(folder: Path) -> None:
    (folder / TEST_IMAGES).write_bytes(idx(np.zeros((30, 5, 6))))
    refused(folder, r"\(6, 6\).*\(5, 6\)")


@pytest.mark.parametrize("claims", [(0, 6, 6), (60, 0, 6)])
def test_no_images(folder: Path, claims: tuple[int, ...]) -> None:
    (folder / TRAIN_IMAGES).write_bytes(idx(images(0), claims=claims))
    refused(folder, "empty")


def test_one_class(folder: Path) -> None:
    (folder / TRAIN_LABELS).write_bytes(idx(np.zeros(60)))
    (folder / TEST_LABELS).write_bytes(idx(np.zeros(30)))
    refused(folder, "1 class")


def test_a_class_without_images(folder: Path) -> None:
    (folder / TRAIN_LABELS).write_bytes(idx(np.arange(60) % 2 * 2))
    (folder / TEST_LABELS).write_bytes(idx(np.arange(30) % 2 * 2))
    refused(folder, "no image of '1'")


@pytest.mark.parametrize("where", ["train", "test"])
def test_a_class_missing_from_one_part(folder: Path, where: str) -> None:
    name, count = (TRAIN_LABELS, 60) if where == "train" else (TEST_LABELS, 30)
    (folder / name).write_bytes(idx(np.arange(count) % 2))
    dataset = open_dataset(f"idx:{folder}")
    with pytest.raises(DataError, match="class '2'"):
        make_splits(dataset, val=6, calib=6, test=None, train=None, seed=0)


def test_a_class_too_small_for_the_split(folder: Path) -> None:
    labels = np.arange(60) % 2
    labels[:2] = 2
    (folder / TRAIN_LABELS).write_bytes(idx(labels))
    dataset = open_dataset(f"idx:{folder}")
    with pytest.raises(DataError, match="class '2'") as caught:
        make_splits(dataset, val=6, calib=6, test=None, train=None, seed=0)
    assert "2 of 60 images" in caught.value.got


@pytest.mark.parametrize("kind", ["FIFO", "symbolic link", "folder"])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_something_else_in_place_of_a_file(folder: Path, kind: str, ending: str) -> None:
    real = folder / TRAIN_IMAGES
    path = folder / (TRAIN_IMAGES + ending)
    moved = real.rename(folder / "moved")
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(moved)
    refused(folder, kind)


def test_a_dangling_link_and_a_linked_list_of_classes(folder: Path) -> None:
    (folder / "classes.txt").symlink_to("/dev/zero")
    refused(folder, "symbolic link")
    (folder / "classes.txt").unlink()
    (folder / TRAIN_IMAGES).unlink()
    (folder / TRAIN_IMAGES).symlink_to("nowhere")
    refused(folder, "symbolic link")


@pytest.mark.parametrize(
    "text",
    ["a\nA\nb\n", "a\n\nb\n", "a\nb\n", "a\nb\x1b[2J\nc\n", "one\n", "", "x\n" * 600_000],
    ids=["case", "blank", "too few", "control", "one", "empty", "megabytes"],
)
def test_class_names_that_are_not_right(folder: Path, text: str) -> None:
    (folder / "classes.txt").write_text(text)
    refused(folder, ".")


def test_the_same_image_in_two_splits(folder: Path) -> None:
    shared = images(30, seed=1)
    shared[7] = images(60)[20]
    (folder / TEST_IMAGES).write_bytes(idx(shared))
    dataset = open_dataset(f"idx:{folder}")
    with pytest.raises(DataError) as caught:
        make_splits(dataset, val=6, calib=6, test=None, train=None, seed=0)
    assert dataset.ids[20] in caught.value.subject


def test_nothing_is_half_written(folder: Path, tmp_path: Path) -> None:
    dataset = open_dataset(f"idx:{folder}")
    splits = make_splits(dataset, val=6, calib=6, test=None, train=None, seed=0)
    target = tmp_path / "file" / "splits"
    target.parent.write_bytes(b"in the way")
    with pytest.raises(OSError):
        save_splits(target, dataset, splits)
    assert target.parent.read_bytes() == b"in the way"
