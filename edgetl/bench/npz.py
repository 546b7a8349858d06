"""Arrays in npz files: written with the same bytes each time, read without trust."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import EdgetlError, GateError
from edgetl.files import write_atomic

MAX_BYTES = 2 << 30
_MAX_MEMBERS = 256
_KINDS = "biufU"


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays atomically; equal arrays give equal bytes (no time stamps).

    Args:
        path: The file, conventionally ending in ``.npz``.
        arrays: Numbers, booleans or fixed-width text, by name.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    write_atomic(path, stream.getvalue())


def read_npz(
    path: Path, *, max_bytes: int = MAX_BYTES, error: type[EdgetlError] = GateError
) -> dict[str, NDArray[Any]]:
    """Read every array of an npz file, believing nothing that the file says of itself.

    Args:
        path: A regular file.
        max_bytes: The most that the file, and its content unpacked, may take.
        error: The class of the error to raise.

    Returns:
        Arrays of numbers, booleans or text, in native byte order, by name.

    Raises:
        EdgetlError: Of class `error`, when the file is missing, too large, damaged, unpacks to
            more than `max_bytes`, holds objects (pickles), or an array whose header lies about
            its size.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     write_npz(Path(root) / "a.npz", {"x": np.arange(3)})
        ...     read_npz(Path(root) / "a.npz")["x"].tolist()
        [0, 1, 2]
    """

    def refuse(got: str) -> NoReturn:
        raise error(
            str(path),
            got=got,
            expected=f"an npz file of plain arrays, at most {max_bytes >> 20} MiB unpacked",
            fix="write it with numpy.savez (no object arrays) or with edgetl",
        )

    if not path.is_file():
        refuse("something that is not a regular file" if path.exists() else "no such file")
    try:
        if path.stat().st_size > max_bytes:
            refuse(f"{path.stat().st_size} bytes")
        with zipfile.ZipFile(path) as archive:
            return _read_members(archive, max_bytes)
    except _Refused as problem:
        refuse(str(problem))
    except Exception as problem:
        # zipfile, zlib and the npy header parser raise a dozen kinds: each is the file's fault.
        refuse(f"{type(problem).__name__}: {problem}")


class _Refused(Exception):
    pass


def _read_members(archive: zipfile.ZipFile, max_bytes: int) -> dict[str, NDArray[Any]]:
    members = archive.infolist()
    if len(members) > _MAX_MEMBERS:
        raise _Refused(f"{len(members)} arrays")
    if sum(member.file_size for member in members) > max_bytes:
        raise _Refused(f"{sum(member.file_size for member in members)} bytes unpacked")
    arrays: dict[str, NDArray[Any]] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name in arrays:
            raise _Refused(f"the array {name!r} twice")
        with archive.open(member) as stream:
            # zipfile stops at the size its directory gives, so this reads no more than was summed.
            arrays[name] = _parse(stream.read(), name)
    return arrays


def _parse(data: bytes, name: str) -> NDArray[Any]:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise _Refused(f"array {name!r} in npy version {version}")
    shape, fortran, dtype = readers[version](stream)
    if dtype.kind not in _KINDS:
        raise _Refused(f"array {name!r} of dtype {dtype}")
    # numpy would allocate what the header claims before it finds that the data is not there.
    count = 1
    for size in shape:
        count *= size
    if min(shape, default=0) < 0 or count * dtype.itemsize != len(data) - stream.tell():
        raise _Refused(f"array {name!r} whose header says {dtype} {shape} and whose data differs")
    flat = np.frombuffer(data, dtype=dtype, count=count, offset=stream.tell())
    array = flat.reshape(shape, order="F" if fortran else "C")
    return np.array(array, dtype=dtype.newbyteorder("="), order="C")
