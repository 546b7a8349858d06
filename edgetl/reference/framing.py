"""Messages between the client and its worker: a JSON header and raw arrays, never a pickle.

A frame is four bytes of magic, the header's length as a little-endian uint32, the header as UTF-8
JSON, and the bytes of each array that the header lists under ``arrays``, in that order,
C-contiguous and little-endian.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import IO, Any

import numpy as np

from edgetl.errors import WorkerError
from edgetl.spec import Array

_MAGIC = b"edg1"
_LARGEST_HEADER = 16 << 20
_DTYPES = ("uint8", "int64", "float32", "float64")
_NO_ARRAYS: Mapping[str, Array] = MappingProxyType({})


def write_frame(
    stream: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, Array] = _NO_ARRAYS
) -> None:
    """Write one message and flush it.

    Args:
        stream: A binary stream.
        header: Plain JSON data; the key ``arrays`` is the frame's own.
        arrays: uint8, int64, float32 or float64, by name.

    Example:
        >>> import io
        >>> stream = io.BytesIO()
        >>> write_frame(stream, {"kind": "run"}, {"x": np.arange(3)})
        >>> _ = stream.seek(0)
        >>> read_frame(stream)
        ({'kind': 'run'}, {'x': array([0, 1, 2])})
    """
    listing = [
        {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
        for name, array in arrays.items()
    ]
    text = json.dumps({**header, "arrays": listing}, allow_nan=False).encode()
    stream.write(_MAGIC + len(text).to_bytes(4, "little") + text)
    for array in arrays.values():
        stream.write(np.ascontiguousarray(array).data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, Array]] | None:
    """Read one message; None when the stream ends before one begins.

    Returns:
        The header and the arrays, in memory of their own.

    Raises:
        WorkerError: When the stream breaks off, or does not speak this format.
    """
    start = stream.read(8)
    if not start:
        return None
    size = int.from_bytes(start[4:], "little")
    if len(start) < 8 or start[:4] != _MAGIC or size > _LARGEST_HEADER:
        raise _error(f"the bytes {start!r}")
    header = _header(_exactly(stream, size))
    arrays = {}
    for name, dtype, shape in _listing(header):
        array = np.empty(shape, dtype)
        _fill(stream, array)
        arrays[name] = array
    return header, arrays


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except ValueError as error:
        raise _error(str(error)) from error
    if not isinstance(header, dict):
        raise _error(f"a header of type {type(header).__name__}")
    return header


def _listing(header: dict[str, Any]) -> list[tuple[str, str, tuple[int, ...]]]:
    try:
        rows = [
            (str(row["name"]), str(row["dtype"]), tuple(int(size) for size in row["shape"]))
            for row in header.pop("arrays")
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise _error(f"a listing of arrays without {error}") from error
    for _, dtype, shape in rows:
        if dtype not in _DTYPES or min(shape, default=0) < 0:
            raise _error(f"an array of {dtype} {shape}")
    return rows


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise _error(f"an end after {len(data)} of {size} bytes")
    return data


def _fill(stream: IO[bytes], array: Array) -> None:
    view = array.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        # readinto may give less than asked for; the stub of IO does not know it.
        count = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise _error(f"an end after {done} of {len(view)} bytes of an array")
        done += count


def _error(got: str) -> WorkerError:
    return WorkerError(
        "message between client and reference worker",
        got=got,
        expected="a whole frame",
        fix="load the reference again; if it happens again, look for what writes to its pipes",
    )
