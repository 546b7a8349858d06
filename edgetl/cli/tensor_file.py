"""Read a .npy file that somebody names on the command line, without trust."""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgetl.data.regular_file import open_regular
from edgetl.errors import DataError, UsageError

MAX_BYTES = 2 << 30
_MAX_HEADER = 1 << 14
_MAX_DIMENSIONS = 32


def read_tensor(path: Path) -> NDArray[Any]:
    """Read the array of numbers in a .npy file (format version 1 or 2).

    Nothing in the file is executed, and no more memory is taken than the file has bytes.

    Args:
        path: A regular file of at most 2 GiB.

    Returns:
        The array, of the dtype, byte order and layout in the file.

    Raises:
        UsageError: When it is no regular file, no .npy file, too large, empty, cut short, or
            holds anything but booleans, integers or floats.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     np.save(Path(root) / "a.npy", np.arange(3))
        ...     read_tensor(Path(root) / "a.npy").tolist()
        [0, 1, 2]
    """
    try:
        with open_regular(path, follow_links=True) as stream:
            return _read(stream)
    except DataError as error:
        raise UsageError(
            str(path), got=error.got, expected="a regular .npy file", fix=error.fix
        ) from error
    except _Refused as error:
        raise UsageError(
            str(path),
            got=str(error),
            expected="a .npy file with one array of numbers, without objects",
            fix="write it anew with numpy.save from an array of plain numbers",
        ) from error


class _Refused(Exception):
    pass


def _read(stream: BinaryIO) -> NDArray[Any]:
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if size > MAX_BYTES:
        raise _Refused(f"{size} bytes, more than {MAX_BYTES >> 30} GiB")
    shape, fortran, dtype, start = _header(stream.read(_MAX_HEADER))
    _check_dtype(dtype)
    _check_shape(shape)
    # Python's integers do not overflow, whatever the header claims.
    count = math.prod(shape)
    if count * dtype.itemsize != size - start:
        raise _Refused(
            f"{size - start} bytes of data, where the header says {dtype} of shape {_shown(shape)}"
        )
    stream.seek(start)
    values = np.fromfile(stream, dtype=dtype, count=count)
    if values.size != count:
        raise _Refused("a file that became shorter while it was read")
    return values.reshape(shape, order="F" if fortran else "C")


def _header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    if head.startswith(b"PK"):
        raise _Refused("a zip archive, such as an .npz file")
    stream = io.BytesIO(head)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(stream)
    except ValueError as error:
        raise _Refused("bytes that are not a .npy file") from error
    if version not in readers:
        raise _Refused(f"a .npy file of version {version[0]}.{version[1]}")
    try:
        with warnings.catch_warnings():
            # What numpy warns of, in a header of another time, is no news to the reader.
            warnings.simplefilter("ignore")
            shape, fortran, dtype = readers[version](stream, max_header_size=_MAX_HEADER)
    except Exception as error:
        # The header is a Python literal: its parser raises a dozen kinds, each the file's fault.
        raise _Refused("a .npy file with a damaged header") from error
    return tuple(map(int, shape)), fortran, dtype, stream.tell()


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.hasobject:
        raise _Refused("an array of Python objects, which could run code")
    if dtype.kind not in "biuf":
        raise _Refused(f"an array of dtype {str(dtype)[:80]}")


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) > _MAX_DIMENSIONS:
        raise _Refused(f"an array of {len(shape)} dimensions")
    if max(shape, default=1) > MAX_BYTES:
        raise _Refused("an array of a shape that no such file could hold")
    if min(shape, default=1) < 1:
        raise _Refused(f"an array of shape {_shown(shape)}, without values")


def _shown(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "()"
