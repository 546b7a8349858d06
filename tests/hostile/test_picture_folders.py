"""Folders and tables of pictures that are wrong, odd or made to do harm: one clear error each."""

from __future__ import annotations

import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from edgetl.data.card import dataset_card
from edgetl.data.csv_file import MAX_CSV_BYTES
from edgetl.data.sources import open_dataset, source_files
from edgetl.data.splits import make_splits
from edgetl.errors import DataError
from tests.data.helpers.pictures import encoded, make_folder, pixels


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos", {"cat": 4, "dog": 4})


def refused(source: str, *said: str) -> DataError:
    with pytest.raises(DataError) as caught:
        open_dataset(source)
    assert caught.value.exit_code == 2
    for one in said:
        assert one in str(caught.value)
    return caught.value


def test_a_missing_folder_and_a_file_for_a_folder(tmp_path: Path) -> None:
    refused(f"folder:{tmp_path / 'absent'}", "no such folder")
    (tmp_path / "file").write_bytes(b"")
    refused(f"folder:{tmp_path / 'file'}", "a file")


def test_empty(tmp_path: Path) -> None:
    refused(f"folder:{tmp_path}", "no pictures")


def test_one_class(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cat": 3})
    refused(f"folder:{tmp_path}", "1 class")


def test_an_empty_class(photos: Path) -> None:
    (photos / "owl").mkdir()
    refused(f"folder:{photos}", "no image of 'owl'")


def test_symlink_loops_end(photos: Path) -> None:
    (photos / "cat" / "loop").symlink_to(photos)
    (photos / "dog" / "itself").symlink_to("itself")
    refused(f"folder:{photos}", "2 files", "cat/loop: a symbolic link", "dog/itself")


def test_a_symlink_that_leads_outside(photos: Path, tmp_path: Path) -> None:
    outside = make_folder(tmp_path / "outside", {"x": 1})
    (photos / "cat" / "file.png").symlink_to(outside / "x" / "000.png")
    (photos / "fox").symlink_to(outside / "x")
    refused(f"folder:{photos}", "2 files", "cat/file.png: a symbolic link", "fox")
    assert not any("file" in name or "fox" in name for name in source_files(f"folder:{photos}"))


def test_fifos_sockets_and_devices_are_never_opened(photos: Path) -> None:
    os.mkfifo(photos / "cat" / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(photos)
        try:
            server.bind("socket.png")
        finally:
            os.chdir(here)
    refused(f"folder:{photos}", "cat/pipe.png: a FIFO", "socket.png: a socket")
    assert len(source_files(f"folder:{photos}")) == 8


def test_0_byte_images_are_listed(photos: Path) -> None:
    for at in range(7):
        (photos / "dog" / f"z{at}.jpg").write_bytes(b"")
    error = refused(f"folder:{photos}", "7 files", "dog/z4.jpg: 0 bytes", "and 2 more")
    assert "dog/z5.jpg" not in error.got
    assert f"edgetl inspect folder:{photos}" in error.fix
    assert len(dataset_card(f"folder:{photos}").unusable) == 7


def test_a_file_without_permission_is_listed(photos: Path, monkeypatch) -> None:
    def denied(path: Path, *, follow_links: bool) -> None:
        raise DataError(f"file {path}", got="permission denied", expected="", fix="")

    monkeypatch.setattr("edgetl.data.listing.open_regular", denied)
    refused(f"folder:{photos}", "8 files", "permission denied")


@pytest.mark.parametrize("other", ["CAT", "Cat"])
def test_class_names_equal_but_for_case(photos: Path, other: str) -> None:
    make_folder(photos, {other: 1}, first=90)
    refused(f"folder:{photos}", f"'{other}' and 'cat'")


def test_class_names_equal_but_for_the_form_of_an_accent(tmp_path: Path) -> None:
    make_folder(tmp_path, {"caf\u00e9": 1, "cafe\u0301": 1})
    refused(f"folder:{tmp_path}", "differ by more than case")


def test_case_that_differs_between_the_parts(tmp_path: Path) -> None:
    make_folder(tmp_path, {"train/cat": 1, "train/dog": 1, "test/Cat": 1, "test/dog": 1})
    refused(f"folder:{tmp_path}", "'Cat' and 'cat'")


@pytest.mark.parametrize("name", [b"do\x1b[31mg", b"do\ng", b"do\xffg", b"\xe2\x80\xaegod"])
def test_class_names_that_a_terminal_would_obey(photos: Path, name: bytes) -> None:
    folder = os.fsencode(photos) + b"/" + name
    os.mkdir(folder)  # noqa: PTH102
    with open(folder + b"/x.png", "wb") as stream:  # noqa: PTH123
        stream.write(encoded(pixels(80)))
    error = refused(f"folder:{photos}", "class name")
    str(error).encode()
    assert "\x1b" not in str(error)


def test_file_names_that_are_no_text(photos: Path) -> None:
    with open(os.fsencode(photos) + b"/cat/\xff\n.png", "wb") as stream:  # noqa: PTH123
        stream.write(encoded(pixels(80)))
    assert len(open_dataset(f"folder:{photos}")) == 9
    assert "cat/\\xff\\n.png" in source_files(f"folder:{photos}")


def test_a_class_too_small_for_the_split(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cat": 30, "dog": 2})
    dataset = open_dataset(f"folder:{tmp_path}")
    with pytest.raises(DataError, match="class 'dog'"):
        make_splits(dataset, val=4, calib=4, test=8, train=None, seed=0)


def test_the_same_image_in_two_splits(tmp_path: Path) -> None:
    for at, part in enumerate(("train", "test")):
        make_folder(tmp_path / part, {"cat": 6, "dog": 6}, first=20 * at)
    # Another file format, another name, another class: the pixels are what counts.
    (tmp_path / "test" / "dog" / "other.bmp").write_bytes(encoded(pixels(2), "BMP"))
    dataset = open_dataset(f"folder:{tmp_path}")
    with pytest.raises(DataError, match="the given train part and in the given test part"):
        make_splits(dataset, val=2, calib=2, test=None, train=None, seed=0)


def test_folders_nested_without_end(photos: Path) -> None:
    deep = photos / "cat" / "/".join(["d"] * 40)
    deep.mkdir(parents=True)
    (deep / "x.png").write_bytes(encoded(pixels(80)))
    refused(f"folder:{photos}", "levels below its class")


def test_a_bomb_among_the_pictures(photos: Path) -> None:
    bomb = bytearray(encoded(pixels(80), "BMP"))
    bomb[18:26] = (60_000).to_bytes(4, "little") * 2
    (photos / "cat" / "bomb.bmp").write_bytes(bomb)
    refused(f"folder:{photos}", "cat/bomb.bmp: 60000 × 60000 pixels")


GOOD = "path,label\ncat/000.png,cat\ndog/000.png,dog\n"


def table(photos: Path, text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else text.encode()
    (photos / "labels.csv").write_bytes(data)
    return f"csv:{photos / 'labels.csv'}"


def test_the_table_is_right_to_begin_with(photos: Path) -> None:
    assert len(open_dataset(table(photos, GOOD))) == 2


def test_a_table_without_header(photos: Path) -> None:
    refused(table(photos, GOOD.split("\n", 1)[1]), "line 1", "a header with the columns path")
    refused(table(photos, ""), "line 1", "no line at all")
    refused(table(photos, "path,label\n"), "no pictures")


@pytest.mark.parametrize("path", ["../x.png", "cat/../../x.png", "/etc/passwd", "cat/\x00.png"])
def test_a_table_whose_paths_leave_its_folder(photos: Path, path: str) -> None:
    (photos.parent / "x.png").write_bytes(encoded(pixels(80)))
    refused(table(photos, f"{GOOD}{path},cat\n"), "line 4", "inside the CSV's folder")


def test_a_table_whose_paths_leave_its_folder_by_links(photos: Path) -> None:
    outside = make_folder(photos.parent / "outside", {"x": 1})
    (photos / "way").symlink_to(outside)
    (photos / "file.png").symlink_to(outside / "x" / "000.png")
    source = table(photos, GOOD + "way/x/000.png,cat\nfile.png,dog\n")
    refused(source, "way/x/000.png (line 4): a file outside", "file.png (line 5): a symbolic link")
    assert sorted(source_files(source)) == ["cat/000.png", "dog/000.png", "labels.csv"]


def test_a_table_that_names_a_fifo(photos: Path) -> None:
    os.mkfifo(photos / "pipe.png")
    refused(table(photos, GOOD + "pipe.png,cat\n"), "pipe.png (line 4): no regular file")
    os.mkfifo(photos / "pipe.csv")
    refused(f"csv:{photos / 'pipe.csv'}", "a FIFO")


def test_a_table_over_the_size_cap(photos: Path) -> None:
    with (photos / "labels.csv").open("wb") as stream:
        stream.truncate(MAX_CSV_BYTES + 1)
    tracemalloc.start()
    refused(f"csv:{photos / 'labels.csv'}", "more than 64 MiB")
    assert tracemalloc.get_traced_memory()[1] < 3 * MAX_CSV_BYTES
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (GOOD.encode() + b"cat/001.png,c\xe9\n", "line 4"),
        (GOOD.encode("utf-16"), "line 1"),
        (GOOD + '"' + "x" * 200_000 + '",cat\n', "line 4"),
        (GOOD + "cat/001.png,c\x00at\n", "line 4"),
        (GOOD + "cat/001.png,c\x1b[2Jat\n", "line 4"),
    ],
    ids=["latin-1", "utf-16", "giant field", "nul", "escape"],
)
def test_a_table_of_strange_bytes(photos: Path, text: str | bytes, line: str) -> None:
    error = refused(table(photos, text), line)
    assert "\x1b" not in str(error)


def test_a_table_with_classes_equal_but_for_case_or_one_class(photos: Path) -> None:
    refused(table(photos, GOOD.replace("dog\n", "Cat\n")), "'Cat' and 'cat'")
    refused(table(photos, GOOD.replace("dog\n", "cat\n")), "1 class")
