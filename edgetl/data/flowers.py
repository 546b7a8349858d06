"""Flowers as Oxford's 102 categories are given: numbered pictures, MATLAB files beside them.

A folder with ``jpg/image_00001.jpg`` and so on, ``imagelabels.mat`` (`labels`: for each picture
its class, from 1) and ``setid.mat`` (`trnid`, `valid`, `tstid`: the numbers of the pictures for
training, validation and test), as Nilsback and Zisserman 2008 published them. The classes have
numbers there and no names: ``classes`` in ``[data]`` gives some. Flowers in one folder a class are
``folder:DIR``.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.data.dataset import GivenSplit
from edgetl.data.inside import why_unusable
from edgetl.data.listing import Entry, Listing, Problem, read_bytes, shown
from edgetl.data.regular_file import open_regular
from edgetl.errors import DataError
from edgetl.extras import extra

PICTURES = "jpg"
LABELS, SPLIT = "imagelabels.mat", "setid.mat"
MAX_MAT_BYTES = 256 << 10
"""The largest MATLAB file that is read. What is inside may be compressed up to a thousandfold;
the published files have 1 and 15 kB."""

_PARTS: dict[str, GivenSplit] = {"trnid": "train", "valid": "val", "tstid": "test"}


def list_flowers(folder: Path) -> Listing:
    """Find the pictures of a folder like Oxford's flowers, in the order of their numbers.

    Raises:
        DataError: When a file is missing or not as above, or a picture is in no part or in two.
            A picture that is missing or no regular file is a problem of the listing.
        MissingExtraError: Without scipy, which reads MATLAB files.
    """
    if not folder.is_dir():
        raise DataError(
            f"dataset flowers:{folder}",
            got="a file" if folder.exists() else "no such folder",
            expected=f"a folder with {LABELS}, {SPLIT} and {PICTURES}/",
            fix="check the path",
        )
    labels = _numbers(folder, LABELS, ("labels",))["labels"]
    if labels.max() > len(labels):
        got = f"class {labels.max()} and {len(labels)} pictures"
        raise _bad(folder / LABELS, got, "no more classes than pictures")
    split = _split(folder, len(labels))
    base = Path(os.path.realpath(folder))
    entries, problems = [], []
    for at, label in enumerate(labels.tolist()):
        name = _name(at + 1)
        picture = base / PICTURES / name
        place = f"{PICTURES}/{name}"
        if (why := why_unusable(picture, base)) is not None:
            problems.append(Problem(place=place, why=why))
            continue
        entries.append(
            Entry(place=place, label=label - 1, read=partial(read_bytes, picture), split=split[at])
        )
    return Listing(
        name=f"flowers:{shown(folder.name)}",
        where=f"flowers:{folder}",
        classes=tuple(str(number) for number in range(1, int(labels.max()) + 1)),
        entries=tuple(entries),
        problems=tuple(problems),
    )


def files_of_flowers(folder: Path) -> dict[str, Path]:
    """The MATLAB files and the pictures that are there: path below `folder` -> file."""
    pictures = sorted((folder / PICTURES).glob("*.jpg"))
    found = {f"{PICTURES}/{path.name}": path for path in pictures if not path.is_symlink()}
    return {LABELS: folder / LABELS, SPLIT: folder / SPLIT} | found


def _name(number: int) -> str:
    return f"image_{number:05}.jpg"


def _split(folder: Path, count: int) -> list[GivenSplit]:
    """For each picture its part."""
    found: list[GivenSplit | None] = [None] * count
    for name, numbers in _numbers(folder, SPLIT, tuple(_PARTS)).items():
        for number in numbers.tolist():
            if number > count:
                got = f"picture {number} in {name}, and labels for {count}"
                raise _bad(folder / SPLIT, got, f"the pictures that {LABELS} has")
            if found[number - 1] is not None:
                raise _bad(folder / SPLIT, f"picture {number} twice", "each picture in one part")
            found[number - 1] = _PARTS[name]
    if None in found:
        got = f"picture {found.index(None) + 1} in no part"
        raise _bad(folder / SPLIT, got, f"each picture in one of {', '.join(_PARTS)}")
    return [part for part in found if part is not None]


def _numbers(folder: Path, name: str, wanted: tuple[str, ...]) -> dict[str, NDArray[np.int64]]:
    """The variables of a MATLAB file, each a row of whole numbers from 1, as int64 [n]."""
    path = folder / name
    if not (path.is_symlink() or path.exists()):
        raise DataError(
            f"dataset flowers:{folder}",
            got=f"no {name}",
            expected=f"{LABELS}, {SPLIT} and {PICTURES}/",
            fix="put the published file there",
        )
    held = _load(path, wanted)
    found = {}
    for variable in wanted:
        value = np.asarray(held.get(variable, ()))
        row = value.ndim <= 2 and value.size == max((0, *value.shape))
        if not row or not value.size or value.dtype.kind not in "uif":
            got = (
                f"{variable}: {value.dtype} {value.shape}" if variable in held else f"no {variable}"
            )
            raise _bad(path, got, "a row of numbers")
        numbers = value.reshape(-1)
        # Also false for NaN.
        if not ((numbers >= 1) & (numbers == np.floor(numbers)) & (numbers < 1 << 31)).all():
            raise _bad(path, f"{variable}: a number that counts nothing", "whole numbers from 1")
        found[variable] = numbers.astype(np.int64)
    return found


def _load(path: Path, wanted: tuple[str, ...]) -> dict[str, Any]:
    with extra("gate"):
        from scipy.io import loadmat
    with open_regular(path, follow_links=False) as stream:
        if os.fstat(stream.fileno()).st_size > MAX_MAT_BYTES:
            raise _bad(path, f"more than {MAX_MAT_BYTES >> 10} KiB", "a MATLAB file of numbers")
        try:
            return dict(loadmat(stream, variable_names=wanted))
        except Exception as error:
            # scipy answers damaged files with whatever error it stumbles on.
            text = " ".join(str(error).split())[:200]
            raise _bad(path, f"{type(error).__name__}: {text}", "a MATLAB file") from error


def _bad(path: Path, got: str, expected: str) -> DataError:
    return DataError(
        f"file {path}", got=got, expected=expected, fix="take the published file again"
    )
