from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from edgetl.data.dataset import content_ids
from edgetl.data.idx import read_idx, read_idx_folder
from edgetl.errors import DataError


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": rng.integers(256, size=(6, 5, 4), dtype=np.uint8),
        "train-labels-idx1-ubyte": np.array([0, 1, 2, 0, 1, 2], np.uint8),
        "t10k-images-idx3-ubyte": rng.integers(256, size=(3, 5, 4), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": np.array([2, 1, 0], np.uint8),
    }


@pytest.mark.parametrize("packed", [False, True])
def test_folder_is_read(tmp_path: Path, arrays: dict[str, np.ndarray], packed: bool) -> None:
    for name, array in arrays.items():
        data = idx(array)
        if packed:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            (tmp_path / name).write_bytes(data)
    dataset = read_idx_folder(tmp_path)
    images = np.concatenate([arrays["train-images-idx3-ubyte"], arrays["t10k-images-idx3-ubyte"]])
    assert np.array_equal(dataset.images, images)
    assert dataset.labels.tolist() == [0, 1, 2, 0, 1, 2, 2, 1, 0]
    assert dataset.labels.dtype == np.int64
    assert dataset.given_split == ("train",) * 6 + ("test",) * 3
    assert dataset.classes == ("0", "1", "2")
    assert dataset.ids == content_ids(images)


def test_class_names_come_from_the_call_or_the_file(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    for name, array in arrays.items():
        (tmp_path / name).write_bytes(idx(array))
    (tmp_path / "classes.txt").write_text("Äpfel\npears\nplums\n", encoding="utf-8")
    assert read_idx_folder(tmp_path).classes == ("Äpfel", "pears", "plums")
    assert read_idx_folder(tmp_path, classes=("x", "y", "z")).classes == ("x", "y", "z")
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"classes\.txt.*UTF-8"):
        read_idx_folder(tmp_path)


def test_too_few_class_names_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        (tmp_path / name).write_bytes(idx(array))
    with pytest.raises(DataError, match="0 to 2"):
        read_idx_folder(tmp_path, classes=("x", "y"))


def test_values_are_in_c_order(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
    assert read_idx(path, rank=2).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_one_name_for_two_labels_is_said_so(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        (tmp_path / name).write_bytes(idx(array.clip(max=1) if "labels" in name else array))
    (tmp_path / "classes.txt").write_text("pears\n")
    with pytest.raises(DataError, match="1 name for 2 labels"):
        read_idx_folder(tmp_path)
