"""Where samples come from: `open_dataset` and the sources it knows."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgetl.data.class_order import in_order
from edgetl.data.csv_file import list_csv, pictures_of
from edgetl.data.cub import files_of_cub, list_cub
from edgetl.data.dataset import Dataset, check_every_class, content_id, content_ids
from edgetl.data.flowers import files_of_flowers, list_flowers
from edgetl.data.folder import files_below, list_folder
from edgetl.data.huggingface import read_huggingface
from edgetl.data.idx import read_idx_folder
from edgetl.data.letters import render_letters
from edgetl.data.listing import Listing, Progress, open_listing, shown
from edgetl.data.npz_file import read_npz_file
from edgetl.errors import DataError
from edgetl.extras import extra
from edgetl.files import sha256_file

__all__ = [
    "SOURCES",
    "Dataset",
    "content_id",
    "content_ids",
    "is_source",
    "open_dataset",
    "read_source",
    "resolve_source",
    "source_files",
    "source_place",
]

SOURCES = (
    "builtin:digits",
    "builtin:letters",
    "idx:DIR",
    "folder:DIR",
    "csv:FILE",
    "npz:FILE",
    "huggingface:DIR",
    "cub:DIR",
    "flowers:DIR",
)
"""The sources that `open_dataset` knows; DIR and FILE are paths."""

_OF_PATHS = ("idx", "folder", "csv", "npz", "huggingface", "cub", "flowers")
_READERS: Mapping[str, Callable[[Path], Listing | Dataset]] = {
    "folder": list_folder,
    "csv": list_csv,
    "huggingface": read_huggingface,
    "cub": list_cub,
    "flowers": list_flowers,
}
_LETTERS_PER_CLASS = 400
# Files are hashed in threads, for hashlib releases the interpreter's lock.
_HASHERS = 4


def open_dataset(
    source: str, *, classes: tuple[str, ...] | None = None, progress: Progress | None = None
) -> Dataset:
    """Read a labelled set of samples.

    Args:
        source: One of

            - ``builtin:digits``: scikit-learn's 1,797 handwritten digits, 8 × 8, scaled from
              0..16 to 0..255;
            - ``builtin:letters``: `render_letters` with 400 images a class and seed 0;
            - ``idx:DIR``: `edgetl.data.idx.read_idx_folder`;
            - ``folder:DIR``: pictures in one folder a class, `edgetl.data.folder.list_folder`;
            - ``csv:FILE``: pictures named in a CSV, `edgetl.data.csv_file.list_csv`;
            - ``npz:FILE``: arrays, `edgetl.data.npz_file.read_npz_file`;
            - ``huggingface:DIR``: what `datasets` wrote with ``save_to_disk``,
              `edgetl.data.huggingface.read_huggingface`;
            - ``cub:DIR``: CUB-200-2011's lists, `edgetl.data.cub.list_cub`;
            - ``flowers:DIR``: Oxford's flowers, `edgetl.data.flowers.list_flowers`.

            What the source gives as train, val, calib or test is in `Dataset.given_split`.
        classes: The source's own names in another order, to which the labels are then moved; or
            names that are all new, for the source's in its own order. Where the source has only
            the labels' numbers, any names but a permutation of these are new.
        progress: Called with how many pictures are decoded, and of how many.

    Raises:
        DataError: For an unknown source, or data that is not right: no samples, one class, a
            class without samples, a file that is not what it should be, `classes` of which only
            some are the source's.
        MissingExtraError: When ``builtin:digits`` is asked for without scikit-learn,
            ``huggingface:DIR`` without `datasets`, or ``flowers:DIR`` without scipy.

    Example:
        >>> digits = open_dataset("builtin:digits")
        >>> digits.images.shape, digits.classes[:3]
        ((1797, 8, 8), ('0', '1', '2'))
    """
    read = read_source(source, classes=classes)
    if isinstance(read, Listing):
        read = open_listing(read, classes=classes, progress=progress)
    return check_every_class(read)


def read_source(source: str, *, classes: tuple[str, ...] | None = None) -> Listing | Dataset:
    """A source's samples, or the listing of its pictures, which are not decoded yet.

    Raises:
        DataError: As `open_dataset`, save for what only decoding shows.
    """
    kind, _, place = source.partition(":")
    if source in ("builtin:digits", "builtin:letters"):
        letters = source == "builtin:letters"
        dataset = render_letters(_LETTERS_PER_CLASS, seed=0) if letters else _digits()
        return _in_order(dataset, classes, numbered=not letters)
    if kind not in _OF_PATHS or not place:
        raise unknown_source(source)
    path = Path(place)
    if kind == "idx":
        return read_idx_folder(path, classes=classes)
    if kind == "npz":
        return read_npz_file(path, classes=classes)
    read = _READERS[kind](path)
    return _in_order(read, classes) if isinstance(read, Dataset) else read


def _in_order(
    dataset: Dataset, classes: tuple[str, ...] | None, *, numbered: bool = False
) -> Dataset:
    labels, names = in_order(
        dataset.labels, dataset.classes, classes, where=dataset.name, numbered=numbered
    )
    return replace(dataset, labels=labels, classes=names)


def unknown_source(source: str) -> DataError:
    """What to say of a source that is none, with the nearest that is one.

    Example:
        >>> unknown_source("foldr:pets").fix
        "did you mean 'folder:pets'?"
    """
    kind, colon, place = source.partition(":")
    near = difflib.get_close_matches(source, SOURCES[:2], n=1)
    if not near and colon and place:
        near = [f"{one}:{place}" for one in difflib.get_close_matches(kind, _OF_PATHS, n=1)]
    return DataError(
        f"dataset {source!r}",
        got="an unknown source",
        expected=f"one of {', '.join(SOURCES)}",
        fix=f"did you mean '{near[0]}'?" if near else "name one of these sources",
    )


def is_source(text: str) -> bool:
    """Whether a text begins as a source does, known or not right in the rest.

    Example:
        >>> is_source("folder:pets"), is_source("runs/pets-1.0.0.edgetl")
        (True, False)
    """
    kind, colon, _ = text.partition(":")
    return bool(colon) and kind in ("builtin", *_OF_PATHS)


def source_place(source: str) -> Path | None:
    """The file or folder that a source names; None for one that names none.

    Example:
        >>> source_place("csv:photos/labels.csv"), source_place("builtin:digits")
        (PosixPath('photos/labels.csv'), None)
    """
    kind, _, place = source.partition(":")
    return Path(place) if kind in _OF_PATHS and place else None


def resolve_source(source: str, base: Path) -> str:
    """A source with its path made absolute, relative to `base`; others as they are.

    Example:
        >>> resolve_source("builtin:digits", Path("/data"))
        'builtin:digits'
        >>> resolve_source("folder:../pets", Path("/data/configs"))
        'folder:/data/pets'
    """
    kind, _, place = source.partition(":")
    if kind not in _OF_PATHS or not place:
        return source
    # realpath: Path.resolve gives up with an error of its own on a circle of links.
    return f"{kind}:{os.path.realpath(base / place)}"


def source_files(source: str) -> dict[str, str]:
    """Every file that a source reads: path relative to the source -> SHA-256 of its content.

    A source that is missing or not right gives what there is: `open_dataset` says what is wrong.

    Example:
        >>> source_files("builtin:digits")
        {}
    """
    kind, _, place = source.partition(":")
    path = Path(place)
    if not place or not path.exists():
        return {}
    if kind == "idx":
        found = {file.name: file for file in path.glob("*") if not file.is_symlink()}
    elif kind in ("folder", "huggingface"):
        found = {str(file.relative_to(path)): file for file in files_below(path)}
    elif kind in ("cub", "flowers"):
        found = files_of_cub(path) if kind == "cub" else files_of_flowers(path)
    elif kind == "npz":
        found = {path.name: path}
    elif kind == "csv":
        found = {path.name: path, **_pictures(path)}
    else:
        return {}
    return _hashes(found)


def _pictures(path: Path) -> dict[str, Path]:
    try:
        return pictures_of(path)
    except DataError:
        return {}


def _hashes(files: dict[str, Path]) -> dict[str, str]:
    names = sorted(name for name, file in files.items() if file.is_file())
    with ThreadPoolExecutor(_HASHERS) as pool:
        hashes = pool.map(lambda name: _hash(files[name]), names)
        return {shown(name): one for name, one in zip(names, hashes, strict=True)}


def _hash(file: Path) -> str:
    try:
        return sha256_file(file)
    except OSError as error:
        return f"not read: {(error.strerror or str(error)).lower()}"


def _digits() -> Dataset:
    with extra("train"):
        from sklearn.datasets import load_digits
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Dataset(
        name="builtin:digits",
        images=images,
        labels=digits.target.astype(np.int64),
        classes=tuple(str(name) for name in digits.target_names),
        ids=content_ids(images),
    )
