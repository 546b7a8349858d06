from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgetl.data.content import sample_ids
from edgetl.data.samples import SeveralSamples
from edgetl.data.sources import open_dataset, source_files
from edgetl.errors import DataError
from edgetl.files import sha256_file

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(6, 5, 4, 3), dtype=np.uint8)
TENSORS = RNG.normal(size=(6, 7)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def saved(tmp_path: Path, **arrays: object) -> str:
    np.savez(tmp_path / "data.npz", **({"labels": LABELS} | arrays))
    return f"npz:{tmp_path / 'data.npz'}"


@pytest.mark.parametrize("images", [IMAGES, IMAGES[..., 0], TENSORS], ids=["rgb", "grey", "float"])
def test_one_array_is_the_input(tmp_path: Path, images: np.ndarray) -> None:
    dataset = open_dataset(saved(tmp_path, anything=images))
    assert np.array_equal(dataset.images, images)
    assert dataset.classes == ("0", "1", "2")
    assert dataset.ids == sample_ids(images)
    assert dataset.labels.dtype == np.int64


def test_several_arrays_are_inputs_by_name(tmp_path: Path) -> None:
    dataset = open_dataset(saved(tmp_path, sound=TENSORS, picture=IMAGES))
    assert isinstance(dataset.images, SeveralSamples)
    assert list(dataset.images.parts) == ["picture", "sound"]
    assert dataset.ids == sample_ids(dataset.images)
    part = dataset.subset([4, 1])
    assert np.array_equal(part.images.parts["sound"], TENSORS[[4, 1]])


def test_everything_that_may_be_said(tmp_path: Path) -> None:
    dataset = open_dataset(
        saved(
            tmp_path,
            images=IMAGES,
            labels=LABELS.astype(">u2"),
            classes=np.array(["café", "b", "c"]),
            split=np.array([b"train", b"val", b"test"] * 2),
            slice_site=np.array([1, 2, 3] * 2),
            slice_night=np.array([True, False] * 3),
        )
    )
    assert dataset.classes == ("café", "b", "c")
    assert dataset.given_split == ("train", "val", "test") * 2
    assert dataset.slices == {"site": ("1", "2", "3") * 2, "night": ("True", "False") * 3}
    assert open_dataset(saved(tmp_path, x=TENSORS), classes=("x", "y", "z")).classes[0] == "x"


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": TENSORS.astype(np.float64)}, "astype(numpy.float32)"),
        ({"x": TENSORS.astype(">f4")}, ">f4"),
        ({"x": TENSORS[:5]}, "(5, 7) for 6 labels"),
        ({"x": np.float32(3)}, "() for 6 labels"),
        ({}, "no array of samples"),
        ({"x": TENSORS, "labels": LABELS.astype(np.float32)}, "labels float32"),
        ({"x": TENSORS, "labels": LABELS[:, None]}, "labels int64 (6, 1)"),
        ({"x": TENSORS, "labels": LABELS > 0}, "labels bool"),
        ({"x": TENSORS, "labels": LABELS - 1}, "-1 to 1"),
        ({"x": TENSORS, "labels": LABELS.astype(np.uint64) + 2**63}, "9223372036854775810"),
        ({"x": TENSORS, "classes": np.array(["a", "b"])}, "2 names for 3 labels"),
        ({"x": TENSORS, "classes": np.arange(3)}, "classes: int64"),
        ({"x": TENSORS, "classes": np.array([b"\xff", b"a", b"b"])}, "classes: "),
        ({"x": TENSORS, "split": np.array(["train"] * 5)}, "5 values of split"),
        ({"x": TENSORS, "split": np.array(["train", "holdout"] * 3)}, "'holdout'"),
        ({"x": TENSORS, "slice_a": TENSORS}, "slice_a"),
        ({"x": TENSORS, "not-a-name": TENSORS}, "'not-a-name'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, arrays: dict[str, object], said: str) -> None:
    with pytest.raises(DataError) as caught:
        open_dataset(saved(tmp_path, **arrays))
    assert said in str(caught.value)


def test_labels_are_needed(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=IMAGES)
    with pytest.raises(DataError, match="the arrays images"):
        open_dataset(f"npz:{tmp_path / 'data.npz'}")


def test_source_files_are_the_file(tmp_path: Path) -> None:
    source = saved(tmp_path, x=TENSORS)
    assert source_files(source) == {"data.npz": sha256_file(tmp_path / "data.npz")}
