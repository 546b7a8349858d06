"""MNIST-style IDX files, plain or gzipped, read without trusting their headers.

The format is described on the MNIST page of LeCun, Cortes and Burges: two zero bytes, a type code
(8: unsigned byte), the number of dimensions, each dimension as a big-endian 32-bit integer, then
the values in C order.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgetl.data.class_order import in_order
from edgetl.data.dataset import Dataset, content_ids
from edgetl.data.regular_file import open_regular
from edgetl.errors import DataError

MAX_BYTES = 4 << 30
# Deflate cannot expand by more than 1032 (zlib's technical details), so a header that claims
# more than that for its compressed size lies.
_MAX_DEFLATE_RATIO = 1032
_MAX_CLASSES_FILE = 1 << 20
_PARTS = {"train": "train", "test": "t10k"}
_MAKE_ANEW = "copy or download the file again"


def read_idx_folder(folder: Path, *, classes: tuple[str, ...] | None = None) -> Dataset:
    """Read ``train-`` and ``t10k-`` ``images-idx3-ubyte`` and ``labels-idx1-ubyte``.

    Args:
        folder: Holds the four files, each plain or with the ending ``.gz`` (the plain one is
            taken when both are there).
        classes: Another order of the names, or other names, as `in_order` takes them. The names
            are those of ``classes.txt`` in the folder (UTF-8, one name a line); without that the
            labels themselves.

    Raises:
        DataError: When a file is missing, not a regular file, not such an IDX file, or the
            parts do not fit together.
    """
    if not folder.is_dir():
        raise DataError(
            f"dataset idx:{folder}",
            got="a file" if folder.exists() else "no such folder",
            expected="a folder with IDX files",
            fix="check the path",
        )
    name = f"idx:{folder}"
    images, labels, given = [], [], []
    for split, prefix in _PARTS.items():
        part_images, part_labels = _read_part(folder, prefix)
        images.append(part_images)
        labels.append(part_labels)
        given += [split] * len(part_labels)
    if images[0].shape[1:] != images[1].shape[1:]:
        raise DataError(
            f"dataset {name}",
            got=f"train images {images[0].shape[1:]}, test images {images[1].shape[1:]}",
            expected="one image size",
            fix="make the files from images of one size",
        )
    pixels = np.concatenate(images)
    all_labels = np.concatenate(labels).astype(np.int64)
    own = _read_classes(folder)
    numbers = tuple(str(label) for label in range(int(all_labels.max()) + 1))
    all_labels, names = in_order(
        all_labels, numbers if own is None else own, classes, where=name, numbered=own is None
    )
    return Dataset(
        name=name,
        images=pixels,
        labels=all_labels,
        classes=names,
        ids=content_ids(pixels),
        given_split=tuple(given),
    )


def read_idx(path: Path, *, rank: int) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes; gzipped when its name ends in ``.gz``.

    No memory is allocated for more than the file can hold, whatever its header claims.

    Args:
        path: A regular file.
        rank: The number of dimensions that is expected.

    Returns:
        uint8, of the shape in the header.

    Raises:
        DataError: When the file is not exactly such an IDX file, or over 4 GiB unpacked.
    """
    with open_regular(path, follow_links=False) as raw:
        size = os.fstat(raw.fileno()).st_size
        try:
            if path.suffix != ".gz":
                return _read(raw, path, rank, size)
            with gzip.GzipFile(fileobj=raw) as stream:
                return _read(stream, path, rank, size * _MAX_DEFLATE_RATIO)
        except (OSError, EOFError, zlib.error) as error:
            raise _bad(path, str(error), "a readable IDX file") from error


def _read(
    stream: BinaryIO | IO[bytes] | gzip.GzipFile, path: Path, rank: int, most: int
) -> NDArray[np.uint8]:
    header = stream.read(4 + 4 * rank)
    magic = bytes((0, 0, 8, rank))
    if len(header) < 4 + 4 * rank or header[:4] != magic:
        got = f"first bytes {header[:4].hex() or 'none'}, {len(header)} bytes of header"
        raise _bad(path, got, f"{magic.hex()} and {rank} dimensions (IDX, unsigned bytes)")
    shape = tuple(int(size) for size in np.frombuffer(header, ">u4", offset=4))
    # Python integers: the product of three 32-bit sizes does not fit in 64 bits.
    count = math.prod(shape)
    if count > min(most, MAX_BYTES):
        got = f"a header that claims {shape} = {count} bytes"
        raise _bad(path, got, f"at most {min(most, MAX_BYTES)} bytes, which the file can hold")
    if count == 0:
        raise _bad(path, f"a header of shape {shape}: empty", "at least one value")
    values = np.empty(count, np.uint8)
    filled = 0
    while filled < count:
        chunk = stream.read(min(1 << 20, count - filled))
        if not chunk:
            raise _bad(path, f"{filled} of {count} bytes: truncated", f"{count} bytes of values")
        values[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
        filled += len(chunk)
    if stream.read(1):
        raise _bad(path, "bytes after the last value", f"{count} bytes of values and no more")
    return values.reshape(shape)


def _read_part(folder: Path, prefix: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images = read_idx(_find(folder, f"{prefix}-images-idx3-ubyte"), rank=3)
    labels = read_idx(_find(folder, f"{prefix}-labels-idx1-ubyte"), rank=1)
    if len(images) != len(labels):
        raise DataError(
            f"{prefix}-* in {folder}",
            got=f"{len(images)} images and {len(labels)} labels",
            expected="as many labels as images",
            fix="take both files from the same release of the dataset",
        )
    return images, labels


def _find(folder: Path, name: str) -> Path:
    plain, packed = folder / name, folder / f"{name}.gz"
    for path in (plain, packed):
        if path.is_symlink() or path.exists():
            return path
    raise DataError(
        f"dataset idx:{folder}",
        got=f"no {name} and no {name}.gz",
        expected="train- and t10k- images-idx3-ubyte and labels-idx1-ubyte",
        fix="name the folder that holds these four files",
    )


def _read_classes(folder: Path) -> tuple[str, ...] | None:
    path = folder / "classes.txt"
    if not (path.is_symlink() or path.exists()):
        return None
    with open_regular(path, follow_links=False) as stream:
        data = stream.read(_MAX_CLASSES_FILE + 1)
    try:
        if len(data) > _MAX_CLASSES_FILE:
            raise ValueError(f"more than {_MAX_CLASSES_FILE} bytes")
        return tuple(data.decode("utf-8").splitlines())
    except ValueError as error:
        raise _bad(path, str(error), "UTF-8 text, one class name a line") from error


def _bad(path: Path, got: str, expected: str) -> DataError:
    return DataError(f"file {path}", got=got, expected=expected, fix=_MAKE_ANEW)
