from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgetl.data.class_order import in_order, is_reordered
from edgetl.data.sources import open_dataset
from edgetl.errors import DataError
from tests.data.helpers.pictures import make_folder, pixels


def test_the_own_names_in_another_order_move_the_labels(tmp_path: Path) -> None:
    make_folder(tmp_path, {"b": 1, "g": 2, "r": 3})
    own = open_dataset(f"folder:{tmp_path}")
    stated = open_dataset(f"folder:{tmp_path}", classes=("r", "g", "b"))
    assert stated.classes == ("r", "g", "b")
    assert stated.labels.tolist() == [2, 1, 1, 0, 0, 0]
    assert stated.ids == own.ids
    assert [own.classes[label] for label in own.labels] == [
        stated.classes[label] for label in stated.labels
    ]


def test_csv_npz_and_idx_numbers_move_as_well(tmp_path: Path) -> None:
    make_folder(tmp_path, {"x": 3})
    lines = [f"x/{at:03}.png,{name}" for at, name in enumerate(("cat", "dog", "cat"))]
    (tmp_path / "a.csv").write_text("\n".join(["path,label", *lines]))
    stated = open_dataset(f"csv:{tmp_path / 'a.csv'}", classes=("dog", "cat"))
    assert (stated.labels.tolist(), stated.classes) == ([1, 0, 1], ("dog", "cat"))
    images = np.stack([pixels(at) for at in range(3)])
    labels = np.array([0, 1, 1])
    np.savez(tmp_path / "a.npz", images=images, labels=labels, classes=np.array(["cat", "dog"]))
    source = f"npz:{tmp_path / 'a.npz'}"
    assert open_dataset(source, classes=("dog", "cat")).labels.tolist() == [1, 0, 0]
    with pytest.raises(DataError, match="'fox'"):
        open_dataset(source, classes=("dog", "fox"))
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    assert open_dataset(source, classes=("1", "0")).labels.tolist() == [1, 0, 0]
    assert open_dataset(source, classes=("1", "2")).labels.tolist() == [0, 1, 1]


def test_digits_are_renamed_or_moved() -> None:
    digits = open_dataset("builtin:digits")
    turned = open_dataset("builtin:digits", classes=digits.classes[::-1])
    assert np.array_equal(turned.labels, 9 - digits.labels)
    renamed = open_dataset("builtin:digits", classes=tuple(str(at) for at in range(1, 11)))
    assert np.array_equal(renamed.labels, digits.labels)


@pytest.mark.parametrize(
    ("classes", "odd"),
    [
        (("cat", "bird"), "'bird', which the source has not; no 'dog'"),
        (("cat", "dog", "bird"), "'bird', which the source has not"),
        (("dog",), "no 'cat', which the source has"),
        (("dog", "cat", "dog"), "a name twice"),
    ],
)
def test_a_part_of_the_own_names_is_refused(classes: tuple[str, ...], odd: str) -> None:
    with pytest.raises(DataError, match="in its order: 'cat', 'dog'") as caught:
        in_order(np.array([0, 1]), ("cat", "dog"), classes, where="folder:x")
    assert odd in caught.value.got


def test_case_alone_makes_no_new_name() -> None:
    labels, names = in_order(np.array([0, 1]), ("cat", "dog"), ("Dog", "Cat"), where="folder:x")
    assert (labels.tolist(), names) == ([1, 0], ("Dog", "Cat"))
    assert not is_reordered(("A", "a"), ("a", "A"))


def test_labels_without_a_name_are_left_to_the_dataset() -> None:
    labels, _ = in_order(np.array([0, 7]), ("cat", "dog"), ("dog", "cat"), where="idx:x")
    assert labels.tolist() == [0, 7]
