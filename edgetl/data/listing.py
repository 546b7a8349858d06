"""Labelled pictures that lie in files of their own, found but not yet decoded.

A source makes a `Listing`; `open_listing` decodes every picture once and makes the `Dataset`, or
refuses with the pictures that cannot be used. The dataset card reads the same listing and goes on.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgetl.data.class_order import in_order
from edgetl.data.content import content_id
from edgetl.data.dataset import Dataset, GivenSplit
from edgetl.data.decode import MAX_FILE_BYTES, decode_image
from edgetl.data.regular_file import open_regular
from edgetl.data.samples import EncodedImages
from edgetl.errors import DataError

Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""

SPLIT_WORDS: Mapping[str, GivenSplit] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "calib": "calib",
    "calibration": "calib",
    "test": "test",
    "testing": "test",
}
"""What sources call a part -> the split it is; see `split_called`."""

_SHOWN = 5
# Decoding is done in threads, for Pillow and hashlib release the interpreter's lock; few, for
# each may hold a picture of 64 million pixels.
_MOST_THREADS = 4
# What is waited for after Ctrl-C.
_AT_ONCE = 16

T = TypeVar("T")
Look = Callable[[bytes, NDArray[np.uint8]], T]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One labelled picture.

    Attributes:
        place: What to call it: a path relative to the source, or a row.
        label: Position in `Listing.classes`.
        read: Gives the bytes of its file.
        split: The part that the source puts it in.
        slices: A value for each of `Listing.slices`.
    """

    place: str
    label: int
    read: Callable[[], bytes]
    split: GivenSplit | None = None
    slices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A file that cannot be used, and why."""

    place: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a source holds, in a fixed order.

    Attributes:
        name: The dataset's name.
        where: The source as it was asked for, for messages.
        classes: Names of the classes, also of those without pictures.
        entries: The pictures.
        problems: What cannot be used, known without decoding.
        skipped: What is passed over on purpose, such as hidden files.
        slices: Names of the slice columns.
    """

    name: str
    where: str
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...] = ()
    skipped: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()


def split_called(word: str) -> GivenSplit | None:
    """The split that a word means, whatever its case; None for any other word.

    Example:
        >>> split_called("Training"), split_called("cat")
        ('train', None)
    """
    return SPLIT_WORDS.get(word.casefold())


def open_listing(
    listing: Listing, *, classes: tuple[str, ...] | None = None, progress: Progress | None = None
) -> Dataset:
    """Decode every picture once and keep the bytes of their files.

    Args:
        listing: What a source holds.
        classes: Another order of the names, or other names, as `in_order` takes them.
        progress: Called now and then.

    Returns:
        A dataset of `EncodedImages`; an id is the `content_id` of the decoded pixels.

    Raises:
        DataError: When there are no pictures, some cannot be used (the first few are named), or
            as `in_order`.
    """
    labels, names = in_order(
        np.array([entry.label for entry in listing.entries], np.int64),
        listing.classes,
        classes,
        where=listing.where,
    )
    looked = look_at(listing.entries, lambda data, pixels: (data, content_id(pixels)), progress)
    problems = [*listing.problems, *(one for one in looked if isinstance(one, Problem))]
    if problems:
        raise _unusable(listing, problems)
    if not listing.entries:
        raise DataError(
            f"dataset {listing.where}",
            got="no pictures",
            expected="pictures of at least two classes",
            fix="check the path: the source is empty",
        )
    # No problem is left, so that each is a pair.
    read = [one for one in looked if not isinstance(one, Problem)]
    given = tuple(entry.split for entry in listing.entries if entry.split is not None)
    return Dataset(
        name=listing.name,
        images=EncodedImages(tuple(data for data, _ in read)),
        labels=labels,
        classes=names,
        ids=tuple(identity for _, identity in read),
        given_split=given or None,
        slices={
            name: tuple(entry.slices[at] for entry in listing.entries)
            for at, name in enumerate(listing.slices)
        }
        or None,
    )


def look_at(
    entries: Sequence[Entry], look: Look[T], progress: Progress | None = None
) -> list[T | Problem]:
    """Read and decode each picture, in several threads.

    Args:
        entries: The pictures.
        look: Called with the file's bytes and the pixels, uint8 [height, width, 3].
        progress: Called now and then.

    Returns:
        For each entry what `look` gave, or why it cannot be read or decoded.
    """

    def one(entry: Entry) -> T | Problem:
        try:
            data = entry.read()
            return look(data, decode_image(data))
        except DataError as error:
            return Problem(place=entry.place, why=error.got)

    looked: list[T | Problem] = []
    workers = min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(entries), _AT_ONCE):
            looked += pool.map(one, entries[start : start + _AT_ONCE])
            if progress is not None:
                progress(len(looked), len(entries))
    return looked


def read_bytes(path: Path) -> bytes:
    """The bytes of a picture's file.

    Raises:
        DataError: When it is not a regular file, is empty, cannot be read, or is too large.
    """
    with open_regular(path, follow_links=False) as stream:
        try:
            data = stream.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise _bad(path, (error.strerror or str(error)).lower()) from error
    if not data:
        raise _bad(path, "0 bytes")
    if len(data) > MAX_FILE_BYTES:
        raise _bad(path, f"more than {MAX_FILE_BYTES >> 20} MiB")
    return data


def shown(path: str | os.PathLike[str]) -> str:
    """A path for messages: control characters and bytes that are no text are escaped.

    Example:
        >>> print(shown("cat/a\\nb.png"))
        cat/a\\nb.png
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _unusable(listing: Listing, problems: list[Problem]) -> DataError:
    first = "; ".join(f"{one.place}: {one.why}" for one in problems[:_SHOWN])
    more = len(problems) - _SHOWN
    files = "1 file" if len(problems) == 1 else f"{len(problems)} files"
    where = shlex.quote(str(listing.where))
    return DataError(
        f"dataset {listing.where}",
        got=f"{files} that cannot be used: {first}" + (f"; and {more} more" if more > 0 else ""),
        expected="pictures that can all be read (JPEG, PNG, WEBP, BMP)",
        fix=f"mend these files or take them out; `edgetl inspect {where}` lists all",
    )


def _bad(path: Path, got: str) -> DataError:
    return DataError(
        f"image {shown(path)}",
        got=got,
        expected="a JPEG, PNG, WEBP or BMP picture",
        fix="copy the file again",
    )
