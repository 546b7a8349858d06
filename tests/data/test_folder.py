from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.data.content import content_id
from edgetl.data.decode import decode_image
from edgetl.data.folder import list_folder
from edgetl.data.sources import open_dataset, source_files
from edgetl.errors import DataError
from tests.data.helpers.pictures import encoded, make_folder, pixels


def test_one_folder_a_class_in_sorted_order(tmp_path: Path) -> None:
    make_folder(tmp_path / "pets", {"dog": 2, "cat": 3})
    dataset = open_dataset(f"folder:{tmp_path / 'pets'}")
    assert dataset.name == "folder:pets"
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1]
    assert dataset.given_split is None
    assert np.array_equal(dataset.images[0], pixels(2))
    assert dataset.ids[3] == content_id(pixels(0))


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a" / "without ending").write_bytes(encoded(pixels(7), "JPEG"))
    (tmp_path / "a" / "x.png").write_bytes(encoded(pixels(8), "WEBP", lossless=True))
    (tmp_path / "a" / "y.txt").write_bytes(encoded(pixels(9), "BMP"))
    dataset = open_dataset(f"folder:{tmp_path}")
    assert len(dataset) == 5
    assert content_id(pixels(9)) in dataset.ids


def test_folders_below_a_class_belong_to_it(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": 1, "b": 1, "a/monday/early": 2})
    assert np.bincount(open_dataset(f"folder:{tmp_path}").labels).tolist() == [3, 1]


@pytest.mark.parametrize("word", ["val", "valid", "validation"])
def test_split_folders(tmp_path: Path, word: str) -> None:
    for at, split in enumerate(("train", word, "test", "calib")):
        make_folder(tmp_path / split, {"a": 1, "b": 2}, first=10 * at)
    dataset = open_dataset(f"folder:{tmp_path}")
    assert dataset.given_split is not None
    assert sorted(set(dataset.given_split)) == ["calib", "test", "train", "val"]
    assert dataset.given_split.count("val") == 3
    assert dataset.classes == ("a", "b")


@pytest.mark.parametrize(
    ("word", "split"),
    [
        ("Train", "train"),
        ("training", "train"),
        ("VAL", "val"),
        ("dev", "val"),
        ("Calibration", "calib"),
        ("Testing", "test"),
    ],
)
def test_split_folders_in_any_case_and_by_other_words(
    tmp_path: Path, word: str, split: str
) -> None:
    other = "Test" if split != "test" else "TRAIN"
    make_folder(
        tmp_path, {f"{word}/cat": 1, f"{word}/dog": 1, f"{other}/cat": 1, f"{other}/dog": 1}
    )
    dataset = open_dataset(f"folder:{tmp_path}")
    assert dataset.classes == ("cat", "dog")
    assert dataset.given_split is not None
    assert set(dataset.given_split) == {split, other.lower()}


def test_a_class_called_train_lies_in_a_split_folder(tmp_path: Path) -> None:
    make_folder(tmp_path, {"train/train": 1, "train/bus": 1})
    assert open_dataset(f"folder:{tmp_path}").classes == ("bus", "train")


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (("train/a", "train/b", "test/a", "extra/a"), "test, train beside extra"),
        (("Train/a", "Train/b", "holdout/a", "holdout/b"), "Train beside holdout"),
        (("test", "cat", "dog"), "test beside cat, dog"),
    ],
)
def test_split_folders_beside_others_are_not_guessed_about(
    tmp_path: Path, folders: tuple[str, ...], said: str
) -> None:
    make_folder(tmp_path, dict.fromkeys(folders, 1))
    with pytest.raises(DataError, match=said):
        open_dataset(f"folder:{tmp_path}")


def test_a_level_above_the_classes_is_said_with_the_names_that_are_known(tmp_path: Path) -> None:
    make_folder(
        tmp_path, {f"{top}/{name}": 1 for top in ("fit", "hold") for name in ("cat", "dog")}
    )
    with pytest.raises(DataError, match="hold no pictures but both cat, dog") as said:
        open_dataset(f"folder:{tmp_path}")
    assert "train, training, val, valid, validation, dev, calib" in said.value.expected


def test_classes_may_share_folders_below_them(tmp_path: Path) -> None:
    days = {f"{top}/{name}": 1 for top in ("cat", "dog") for name in ("monday", "tuesday")}
    make_folder(tmp_path, {**days, "cat": 1})
    assert open_dataset(f"folder:{tmp_path}").classes == ("cat", "dog")
    make_folder(tmp_path / "one", {"cat/monday": 1, "dog/monday": 1})
    assert open_dataset(f"folder:{tmp_path / 'one'}").classes == ("cat", "dog")


def test_hidden_files_and_papers_are_skipped_and_said(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": 1, "b": 1, ".git": 1, "a/.thumbnails": 1})
    (tmp_path / "LICENSE").write_text("free")
    (tmp_path / "a" / ".DS_Store").write_bytes(b"\0")
    listing = list_folder(tmp_path)
    assert len(listing.entries) == 2
    assert listing.problems == ()
    assert sorted(listing.skipped) == [".git", "LICENSE", "a/.DS_Store", "a/.thumbnails"]


def test_a_picture_outside_the_class_folders_is_not_lost_silently(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "stray.jpg").write_bytes(encoded(pixels(5), "JPEG"))
    with pytest.raises(DataError, match=r"stray\.jpg: a picture that lies in no class folder"):
        open_dataset(f"folder:{tmp_path}")


def test_classes_can_be_renamed(tmp_path: Path) -> None:
    make_folder(tmp_path, {"0": 1, "1": 1})
    assert open_dataset(f"folder:{tmp_path}", classes=("cat", "dog")).classes == ("cat", "dog")
    with pytest.raises(DataError, match="no image of 'bird'"):
        open_dataset(f"folder:{tmp_path}", classes=("cat", "dog", "bird"))


def test_source_files_are_all_pictures_by_relative_path(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": 1, "b": 1})
    before = source_files(f"folder:{tmp_path}")
    assert sorted(before) == ["a/000.png", "b/000.png"]
    (tmp_path / "a" / "000.png").write_bytes(encoded(pixels(50)))
    after = source_files(f"folder:{tmp_path}")
    assert after["b/000.png"] == before["b/000.png"]
    assert after["a/000.png"] != before["a/000.png"]


def turned(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    image.save(stream, "PNG", exif=exif)
    return stream.getvalue()


RGB = pixels(3, 20, 30)
GREY = RGB[..., 0]
WIDE = np.random.default_rng(0).integers(65536, size=(6, 7), dtype=np.uint16)
PALETTE = Image.fromarray(RGB).quantize(8)
CMYK = encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG")
HIDDEN = np.dstack([RGB, np.where(GREY > 127, 255, 0).astype(np.uint8)])
RIGHT = {
    "grey": (encoded(GREY), np.dstack([GREY] * 3)),
    "cmyk": (CMYK, np.asarray(Image.open(io.BytesIO(CMYK)).convert("RGB"))),
    "palette": (encoded(PALETTE), np.asarray(PALETTE.convert("RGB"))),
    "16 bit": (encoded(WIDE), np.dstack([(WIDE >> 8).astype(np.uint8)] * 3)),
    "turned": (turned(Image.fromarray(RGB)), np.rot90(RGB, -1)),
    "alpha": (encoded(HIDDEN), np.where(GREY[..., None] > 127, RGB, 255).astype(np.uint8)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_unusual_pictures_have_the_pixels_that_a_viewer_shows(tmp_path: Path, name: str) -> None:
    data, expected = RIGHT[name]
    make_folder(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a" / "x.jpg").write_bytes(data)
    dataset = open_dataset(f"folder:{tmp_path}")
    assert np.array_equal(dataset.images[1], expected)
    assert dataset.ids[1] == content_id(np.ascontiguousarray(expected))


def test_16_bit_grey_with_a_hidden_value_lies_over_white() -> None:
    wide = WIDE.copy()
    wide[2, 3] = 4660
    decoded = decode_image(encoded(Image.fromarray(wide), transparency=4660))
    assert (decoded[2, 3] == 255).all()
    assert decoded[0, 0, 0] == wide[0, 0] >> 8


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused_and_named(tmp_path: Path, kind: str) -> None:
    frames = [Image.fromarray(pixels(at)) for at in range(3)]
    make_folder(tmp_path, {"a": 1, "b": 1})
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    (tmp_path / "a" / "moving.png").write_bytes(data)
    with pytest.raises(DataError, match=r"a/moving\.png: an animation of 3 frames"):
        open_dataset(f"folder:{tmp_path}")


def test_progress_is_told(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": 20, "b": 13})
    heard: list[tuple[int, int]] = []
    open_dataset(f"folder:{tmp_path}", progress=lambda *figures: heard.append(figures))
    assert heard[-1] == (33, 33)
    assert heard == sorted(heard)
    assert len(heard) > 1
