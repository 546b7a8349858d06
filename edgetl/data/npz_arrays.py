"""Read the arrays of an npz file without trusting what its headers claim, and never a pickle."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

import numpy as np

from edgetl.data.regular_file import open_regular
from edgetl.errors import DataError
from edgetl.spec import Array

MAX_BYTES = 16 << 30
"""The most that the arrays of one file may hold together, in bytes."""

# Deflate cannot expand by more than 1032 (zlib's technical details).
_MAX_DEFLATE_RATIO = 1032


def read_npz(
    path: Path, *, names: Collection[str] | None = None, follow_links: bool = False
) -> dict[str, Array]:
    """Read the arrays of an npz file, all of them or those that are named.

    Before an array is made, its shape is held against the size that the zip gives for it, and
    that against what the file can hold: a header that claims terabytes allocates nothing.

    Args:
        path: A regular file.
        names: The arrays to read; all when None.
        follow_links: Whether the path may be a symbolic link.

    Raises:
        DataError: When the file is no such npz file, an array is missing, holds Python objects
            (a pickle, which is never opened), or the arrays are over 16 GiB.
    """
    with open_regular(path, follow_links=follow_links) as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            with zipfile.ZipFile(stream) as archive:
                return _read(archive, names, size)
        # zipfile and numpy answer damaged files with whatever error they stumble on.
        except Exception as error:
            text = str(error) or type(error).__name__
            raise DataError(
                f"file {path}",
                got=text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}",
                expected="an npz file of plain arrays, whole",
                fix="write it again with numpy.savez",
            ) from error


def _read(archive: zipfile.ZipFile, names: Collection[str] | None, size: int) -> dict[str, Array]:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename or name in members:
            raise ValueError(f"the member {info.filename!r}, not one .npy file a name")
        members[name] = info
    missing = sorted(set(names or ()) - members.keys())
    if missing:
        raise ValueError(f"no array {missing[0]!r}")
    chosen = list(members) if names is None else list(names)
    _check_sizes([members[name] for name in chosen], size)
    return {name: _array(archive, members[name]) for name in chosen}


def _check_sizes(members: list[zipfile.ZipInfo], size: int) -> None:
    for info in members:
        most = min(info.compress_size, size)
        if info.compress_type != zipfile.ZIP_STORED:
            most *= _MAX_DEFLATE_RATIO
        if info.file_size > most:
            raise ValueError(
                f"{info.filename}, which claims {info.file_size} bytes and can hold {most}"
            )
    total = sum(info.file_size for info in members)
    if total > MAX_BYTES:
        raise ValueError(f"arrays of {total} bytes, more than {MAX_BYTES >> 30} GiB")


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    with archive.open(info) as member:
        _check_header(member, info)
    with archive.open(info) as member:
        array: Array = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):
            raise ValueError(f"bytes after the last value of {info.filename}")
        return array


def _check_header(member: IO[bytes], info: zipfile.ZipInfo) -> None:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(member)
    else:
        raise ValueError(f"{info.filename} in version {version} of the npy format, not 1 or 2")
    if dtype.hasobject:
        raise ValueError(f"{info.filename} of Python objects: a pickle, which is never opened")
    values = info.file_size - member.tell()
    if any(axis < 0 for axis in shape) or math.prod(shape) * dtype.itemsize != values:
        raise ValueError(
            f"{info.filename}, whose header claims {dtype} {shape} for {values} bytes of values"
        )
