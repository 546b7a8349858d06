from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgetl.data.npz_arrays import read_npz
from edgetl.errors import DataError


def header(shape: str, dtype: str = "'<f4'") -> bytes:
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def zipped(tmp_path: Path, *members: tuple[str, bytes], packed: bool = False) -> Path:
    path = tmp_path / "x.npz"
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_saves_is_read(tmp_path: Path, save) -> None:
    arrays = {
        "a": np.arange(6).reshape(2, 3),
        "b": np.asfortranarray(np.ones((3, 4), np.float32)),
        "c": np.array(["x", "yz"]),
        "empty": np.zeros((0, 3), np.uint8),
        "one": np.float64(3.0),
    }
    save(tmp_path / "x.npz", **arrays)
    read = read_npz(tmp_path / "x.npz")
    assert list(read) == list(arrays)
    assert all(np.array_equal(read[name], array) for name, array in arrays.items())
    assert list(read_npz(tmp_path / "x.npz", names=("c",))) == ["c"]


@pytest.mark.parametrize(
    "shape", ["(1000000, 1000000, 1000)", "(-2, -3)", "(7,)", "()", "(9,)", "(99999999999999,)"]
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_header_that_does_not_fit_allocates_nothing(
    tmp_path: Path, shape: str, packed: bool
) -> None:
    path = zipped(tmp_path, ("x.npy", header(shape) + bytes(32)), packed=packed)
    tracemalloc.start()
    with pytest.raises(DataError, match="claims"):
        read_npz(path)
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


def test_a_directory_that_lies_about_sizes(tmp_path: Path) -> None:
    path = zipped(tmp_path, ("x.npy", header("(1000000000,)") + bytes(32)))
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    size = len(header("()")) + 4_000_000_000
    struct.pack_into("<II", data, central + 20, size, size)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"claims 4000000128 bytes"):
        read_npz(path)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], object))
    with pytest.raises(DataError, match="a pickle, which is never opened"):
        read_npz(zipped(tmp_path, ("x.npy", stream.getvalue())))


@pytest.mark.parametrize(
    "member", [("x.txt", b"hello"), ("x.npy", b""), ("x.npy", b"\x93NUMPY\x09\x00" + bytes(99))]
)
def test_other_members_are_refused(tmp_path: Path, member: tuple[str, bytes]) -> None:
    with pytest.raises(DataError, match=r"x\.npz"):
        read_npz(zipped(tmp_path, member))


def test_a_name_twice_and_a_missing_name(tmp_path: Path) -> None:
    whole = header("(2,)") + bytes(8)
    with pytest.warns(UserWarning, match="Duplicate"):
        path = zipped(tmp_path, ("x.npy", whole), ("x.npy", whole))
    with pytest.raises(DataError, match=r"one \.npy file a name"):
        read_npz(path)
    with pytest.raises(DataError, match="no array 'y'"):
        read_npz(zipped(tmp_path, ("x.npy", whole)), names=("y",))


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.arange(5), b=np.ones(3))
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"x\.npz"):
            read_npz(path)
