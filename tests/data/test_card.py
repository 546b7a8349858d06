from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.data.card import dataset_card
from edgetl.errors import DataError
from tests.data.helpers.pictures import encoded, make_folder, pixels


def smooth(seed: int) -> np.ndarray:
    """A picture of 40 × 40 that survives JPEG, as photographs do."""
    small = Image.fromarray(pixels(seed, 6, 6))
    return np.asarray(small.resize((40, 40), Image.Resampling.BICUBIC))


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    root = tmp_path / "pets"
    make_folder(root / "train", {"cat": 4, "dog": 2})
    make_folder(root / "test", {"cat": 2, "dog": 1}, first=50)
    return root


def test_counts_sizes_and_parts(pets: Path) -> None:
    (pets / "train" / "dog" / "tall.png").write_bytes(encoded(pixels(9, 30, 8)[..., 0]))
    card = dataset_card(f"folder:{pets}")
    assert card.count == 10
    assert card.classes == (("cat", 6), ("dog", 4))
    assert card.imbalance == 1.5
    assert card.splits == {"train": 7, "test": 3} or card.splits == {"test": 3, "train": 7}
    assert card.sizes == {"min": [12, 8], "median": [12, 10], "max": [30, 10]}
    assert card.grey == 0.1
    assert card.refusal is None
    assert (card.copies, card.near_count, card.unusable, card.skipped) == (0, None, (), ())


def test_every_file_that_cannot_be_used_is_listed(pets: Path) -> None:
    for at in range(12):
        (pets / "train" / "cat" / f"bad{at}.jpg").write_bytes(b"" if at % 2 else b"GIF89a")
    (pets / "train" / "cat" / "link.jpg").symlink_to("000.png")
    card = dataset_card(f"folder:{pets}")
    assert len(card.unusable) == 13
    assert {one.why for one in card.unusable} >= {"0 bytes"}
    assert card.count == 9
    text = "\n".join(card.lines())
    assert "13 files cannot be used" in text
    assert all(f"train/cat/bad{at}.jpg" in text for at in range(12))


def test_the_class_that_bounds_the_shots_is_said(pets: Path) -> None:
    said = "fewest            3 of dog: per_class has to be below"
    assert said in dataset_card(f"folder:{pets}").lines()


def test_copies_conflicts_and_constant_pictures(pets: Path) -> None:
    data = (pets / "train" / "cat" / "000.png").read_bytes()
    (pets / "train" / "cat" / "copy.png").write_bytes(data)
    (pets / "test" / "dog" / "copy.png").write_bytes(encoded(pixels(0), "BMP"))
    (pets / "train" / "dog" / "black.png").write_bytes(encoded(np.zeros((9, 9), np.uint8)))
    card = dataset_card(f"folder:{pets}")
    assert (card.copies, card.copies_across) == (2, 1)
    assert card.conflicts == (("test/dog/copy.png", "train/cat/000.png", "train/cat/copy.png"),)
    assert card.constant == ("train/dog/black.png",)


def test_near_duplicates_across_parts(pets: Path) -> None:
    for at in range(6):
        (pets / "train" / "cat" / f"big{at}.png").write_bytes(encoded(smooth(at)))
    stream = io.BytesIO()
    Image.fromarray(smooth(3)).save(stream, "JPEG", quality=85)
    (pets / "test" / "cat" / "again.jpg").write_bytes(stream.getvalue())
    (pets / "train" / "dog" / "again.jpg").write_bytes(stream.getvalue())
    (pets / "test" / "dog" / "exact.png").write_bytes(encoded(smooth(5)))
    card = dataset_card(f"folder:{pets}")
    # The pair inside train is not asked for, and the exact copies are counted elsewhere.
    assert card.near == (("test/cat/again.jpg", "train/cat/big3.png"),)
    assert card.near_count == 1
    assert card.copies_across == 2
    assert card.not_judged == 9


def test_without_parts_near_duplicates_are_any_pair(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a" / "one.png").write_bytes(encoded(smooth(1)))
    (tmp_path / "b" / "two.jpg").write_bytes(encoded(smooth(1), "JPEG", quality=85))
    card = dataset_card(f"folder:{tmp_path}")
    assert card.near == (("a/one.png", "b/two.jpg"),)


def test_what_a_release_would_refuse_is_said(tmp_path: Path) -> None:
    make_folder(tmp_path / "one", {"cat": 2})
    make_folder(tmp_path / "empty", {"cat": 2, "dog": 1, "owl": 0})
    make_folder(tmp_path / "case", {"cat": 1, "Cat": 1})
    said = {
        name: dataset_card(f"folder:{tmp_path / name}").refusal or ""
        for name in ("one", "empty", "case")
    }
    assert "1 class" in said["one"]
    assert said["empty"] == "no sample of 'owl'"
    assert "'Cat' and 'cat'" in said["case"]
    (tmp_path / "nothing").mkdir()
    card = dataset_card(f"folder:{tmp_path / 'nothing'}")
    assert card.refusal == "no sample that can be used"
    assert card.lines()


def test_the_class_that_is_refused_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cat": 1, "do\tg": 1})
    said = dataset_card(f"folder:{tmp_path}").refusal or ""
    assert said.startswith("class name 'do\\tg'")


def test_tensors_and_several_inputs(tmp_path: Path) -> None:
    tensors = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
    tensors[2] = 3.0
    labels = np.array([0, 1, 0, 1])
    np.savez(tmp_path / "one.npz", x=tensors, labels=labels, slice_site=labels)
    card = dataset_card(f"npz:{tmp_path / 'one.npz'}")
    assert (card.kind, card.count, card.constant) == ("tensors", 4, ("sample 2",))
    assert (card.grey, card.near_count, card.slices) == (None, None, ("site",))
    assert card.sizes["max"] == [7]
    tensors[3] = tensors[0]
    np.savez(tmp_path / "two.npz", x=tensors, y=tensors, labels=labels)
    card = dataset_card(f"npz:{tmp_path / 'two.npz'}")
    assert (card.kind, card.copies) == ("several inputs", 1)
    assert card.conflicts == (("sample 0", "sample 3"),)
    assert card.lines()


def test_what_cannot_be_opened_at_all_is_an_error(tmp_path: Path) -> None:
    for source in ("folder:" + str(tmp_path / "absent"), "photos:x", f"csv:{tmp_path}"):
        with pytest.raises(DataError):
            dataset_card(source)


def test_the_text_fits_100_columns_and_the_json_is_plain(tmp_path: Path) -> None:
    names = {f"a class with quite a long name that goes on and on, {at}": 1 for at in range(50)}
    make_folder(tmp_path, names)
    (tmp_path / next(iter(names)) / "not a picture.txt").write_bytes(b"hello" * 9)
    (tmp_path / next(iter(names)) / "line\nbreak.png").write_bytes(b"")
    card = dataset_card(f"folder:{tmp_path}")
    lines = card.lines()
    assert max(map(len, lines[2:])) <= 100
    assert any("26 more" in line for line in lines)
    assert not any("\n" in line for line in lines)
    value = json.loads(json.dumps(card.to_json(), allow_nan=False))
    assert value["schema"] == "edgetl.dataset-card/1"
    assert len(value["classes"]) == 50
    assert len(value["unusable"]) == 2
