from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from edgetl.data.dataset import check_every_class, content_id, content_ids
from edgetl.errors import DataError


def test_content_id_is_the_documented_hash() -> None:
    image = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert content_id(image) == hashlib.sha256(b"|u1 2x3\n" + bytes(range(6))).hexdigest()


def test_content_id_reads_values_not_memory() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert content_id(image[:, ::2]) == content_id(image[:, ::2].copy())
    assert content_id(image.T) != content_id(image)


def test_content_id_tells_dtype_and_shape_apart() -> None:
    bytes_, words = np.zeros((2, 4), np.uint8), np.zeros((2, 2), np.uint16)
    assert len({content_id(bytes_), content_id(words), content_id(bytes_.T)}) == 3


def test_subset_keeps_order_and_classes(make_dataset) -> None:
    dataset = make_dataset([3, 3], given_split=("train",) * 4 + ("test",) * 2)
    part = dataset.subset([5, 0])
    assert part.labels.tolist() == [1, 0]
    assert part.ids == (dataset.ids[5], dataset.ids[0])
    assert part.given_split == ("test", "train")
    assert part.classes == dataset.classes
    assert np.array_equal(part.images, dataset.images[[5, 0]])


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.array([0, 1, 2, 0])},
        {"labels": np.array([0, 1, -1, 0])},
        {"labels": np.array([0, 1, 0])},
        {"labels": np.array([0, 1, 0, 1], np.int32)},
        {"images": np.zeros((4, 2, 2), np.float64)},
        {"images": np.full((4, 2, 2), np.nan, np.float32)},
        {"images": np.zeros((4, 2, 2), ">f4")},
        {"images": np.zeros(4, np.float32)},
        {"given_split": ("train", "train", "held-out", "test")},
        {"slices": {"camera": ("a", "b")}},
        {"images": np.zeros((4, 2, 2, 4), np.uint8)},
        {"images": np.zeros((4, 0, 2), np.uint8)},
        {"ids": ("a",)},
        {"given_split": ("train",)},
        {"classes": ("only",)},
        {"classes": ("cat", "CAT")},
        {"classes": ("cat", " ")},
        {"classes": ("cat", "do\x1b[31mg")},
        {"classes": ("cat", "cat")},
        {"classes": ("cat", "cat\u202e")},
    ],
    ids=str,
)
def test_parts_that_do_not_fit_are_refused(make_dataset, change) -> None:
    with pytest.raises(DataError) as caught:
        replace(make_dataset([2, 2]), **change)
    assert caught.value.fix


def test_every_class_needs_an_image(make_dataset) -> None:
    whole = make_dataset([2, 2, 2])
    assert check_every_class(whole) is whole
    with pytest.raises(DataError, match="no image of 'class 1'"):
        check_every_class(whole.subset([0, 4]))
    with pytest.raises(DataError, match="one class only"):
        check_every_class(whole.subset([0, 1]))
    with pytest.raises(DataError, match="no images"):
        check_every_class(whole.subset([]))


def test_ids_of_equal_images_are_equal() -> None:
    images = np.zeros((2, 3, 3, 3), np.uint8)
    first, second = content_ids(images)
    assert first == second
