"""Birds as CUB-200-2011 is given: lists of numbered pictures, their classes and their parts.

A folder with ``images.txt`` (number, path below ``images/``), ``image_class_labels.txt`` (number
of the picture, of the class), ``classes.txt`` (number, name) and ``train_test_split.txt`` (number,
1 for train and 0 for test), as the README of Wah et al. 2011 (CNS-TR-2011-001) says. Other files,
such as the bounding boxes, are not read.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from edgetl.data.dataset import GivenSplit
from edgetl.data.inside import stays_inside, why_unusable
from edgetl.data.listing import Entry, Listing, Problem, read_bytes, shown
from edgetl.data.regular_file import open_regular
from edgetl.errors import DataError

PICTURES = "images"
IMAGES, LABELS = "images.txt", "image_class_labels.txt"
CLASSES, SPLIT = "classes.txt", "train_test_split.txt"
MAX_LIST_BYTES = 16 << 20
"""The largest of these lists that is read; CUB's longest has under 1 MB."""

_PARTS: dict[str, GivenSplit] = {"1": "train", "0": "test"}


def list_cub(folder: Path) -> Listing:
    """Find the pictures of a folder like CUB-200-2011's, in the order of ``images.txt``.

    Classes keep their names as ``classes.txt`` has them, in its order.

    Raises:
        DataError: When a list is missing, a line is not as above, a number is there twice, or the
            lists do not speak of the same pictures; it names the file and the line or the number.
            A picture that is missing or no regular file is a problem of the listing.
    """
    if not folder.is_dir():
        raise DataError(
            f"dataset cub:{folder}",
            got="a file" if folder.exists() else "no such folder",
            expected=f"a folder with {IMAGES}, {LABELS}, {CLASSES}, {SPLIT} and {PICTURES}/",
            fix="check the path: it is the folder CUB_200_2011 of the archive",
        )
    paths, labels, names, split = (
        _table(folder, name) for name in (IMAGES, LABELS, CLASSES, SPLIT)
    )
    for name, table in ((LABELS, labels), (SPLIT, split)):
        _check_same(folder / name, paths, table)
    number = {key: at for at, key in enumerate(names)}
    base = Path(os.path.realpath(folder))
    entries, problems = [], []
    for key, written in paths.items():
        if not stays_inside(written):
            got = f"the path {written!r} of picture {key}"
            raise _bad(folder / IMAGES, got, f"a path inside the folder {PICTURES}")
        if labels[key] not in number:
            raise _bad(
                folder / LABELS, f"class {labels[key]} of picture {key}", f"one of {CLASSES}"
            )
        if split[key] not in _PARTS:
            raise _bad(folder / SPLIT, f"{split[key]!r} for picture {key}", "1 (train) or 0 (test)")
        picture = base / PICTURES / written
        place = f"{PICTURES}/{shown(written)}"
        if (why := why_unusable(picture, base)) is not None:
            problems.append(Problem(place=place, why=why))
            continue
        entries.append(
            Entry(
                place=place,
                label=number[labels[key]],
                read=partial(read_bytes, picture),
                split=_PARTS[split[key]],
            )
        )
    return Listing(
        name=f"cub:{shown(folder.name)}",
        where=f"cub:{folder}",
        classes=tuple(names.values()),
        entries=tuple(entries),
        problems=tuple(problems),
    )


def files_of_cub(folder: Path) -> dict[str, Path]:
    """The lists that are there and the pictures that they name: path below `folder` -> file."""
    found = {name: folder / name for name in (IMAGES, LABELS, CLASSES, SPLIT)}
    try:
        paths = _table(folder, IMAGES)
    except DataError:
        return found
    base = Path(os.path.realpath(folder))
    for written in paths.values():
        picture = base / PICTURES / written
        if stays_inside(written) and why_unusable(picture, base) is None:
            found[f"{PICTURES}/{written}"] = picture
    return found


def _table(folder: Path, name: str) -> dict[str, str]:
    """A list's first column -> the rest of the line."""
    path = folder / name
    if not (path.is_symlink() or path.exists()):
        raise DataError(
            f"dataset cub:{folder}",
            got=f"no {name}",
            expected=f"{IMAGES}, {LABELS}, {CLASSES} and {SPLIT}",
            fix="unpack the archive again, whole",
        )
    table: dict[str, str] = {}
    for at, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        key, _, value = line.strip().partition(" ")
        if not (key.isascii() and key.isdigit()) or not value.strip():
            got = shown(line if len(line) <= 80 else line[:79] + "…")
            raise _bad(path, f"line {at}: {got!r}", "a number, a blank, and what it stands for")
        if key in table:
            raise _bad(path, f"line {at}: the number {key} again", "each number once")
        table[key] = value.strip()
    return table


def _text(path: Path) -> str:
    with open_regular(path, follow_links=False) as stream:
        data = stream.read(MAX_LIST_BYTES + 1)
    if len(data) > MAX_LIST_BYTES:
        raise _bad(path, f"more than {MAX_LIST_BYTES >> 20} MiB", "a list of pictures")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(path, f"the byte {data[error.start]:#04x}", "UTF-8") from error


def _check_same(path: Path, wanted: dict[str, str], table: dict[str, str]) -> None:
    missing = next((key for key in wanted if key not in table), None)
    extra = next((key for key in table if key not in wanted), None)
    if missing is not None:
        raise _bad(path, f"no line for picture {missing}", f"a line for each of {IMAGES}")
    if extra is not None:
        raise _bad(path, f"picture {extra}, which {IMAGES} has not", f"the pictures of {IMAGES}")


def _bad(path: Path, got: str, expected: str) -> DataError:
    return DataError(
        f"file {path}", got=got, expected=expected, fix="take all lists from the same archive"
    )
