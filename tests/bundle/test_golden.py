from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from edgetl.bundle import Bundle, open_bundle
from edgetl.bundle.golden import read_golden
from edgetl.errors import BundleError

NAMES = ("reference", "openvino-fp32", "openvino-bf16", "ort-int8")


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _npz(entries: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _right() -> dict[str, bytes]:
    array = np.array([[0.5, 0.25, 0.25]] * 2, np.float32)
    return {f"{name}.npy": _npy(array) for name in NAMES}


@pytest.fixture
def bundle(folder: Path) -> Bundle:
    return open_bundle(folder)


def _read(bundle: Bundle, answers: bytes) -> object:
    files = {path: bundle.read(path) for path in bundle.manifest.golden.inputs}
    return read_golden(bundle.manifest, {**files, "golden/answers.npz": answers})


def test_numpy_reads_the_answers(bundle: Bundle) -> None:
    assert bundle.golden is not None
    with np.load(io.BytesIO(bundle.read("golden/answers.npz")), allow_pickle=False) as arrays:
        assert sorted(arrays) == sorted(NAMES)
        np.testing.assert_array_equal(arrays["ort-int8"], bundle.golden.answers["ort-int8"])


def test_what_numpy_writes_is_read(bundle: Bundle) -> None:
    assert _read(bundle, _npz(_right())) is not None


def _pickled() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return stream.getvalue()


def _giant() -> bytes:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 3), }\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


ROWS = np.array([[0.5, 0.25, 0.25]] * 2, np.float32)


@pytest.mark.parametrize(
    "entry",
    [
        _npy(ROWS.astype(np.float64)),
        _npy(ROWS.astype(">f4")),
        _npy(np.asfortranarray(ROWS)),
        _npy(ROWS[:1]),
        _npy(ROWS[:, :2]),
        _npy(ROWS * 2),
        _npy(-ROWS),
        _npy(np.full((2, 3), np.nan, np.float32)),
        _npy(ROWS)[:-1],
        _npy(ROWS) + b"\0",
        _pickled(),
        _giant(),
        b"",
        b"not numpy",
    ],
)
def test_wrong_answers_are_refused(bundle: Bundle, entry: bytes) -> None:
    with pytest.raises(BundleError, match=r"golden/answers\.npz"):
        _read(bundle, _npz({**_right(), "ort-int8.npy": entry}))


def test_answers_of_other_variants_are_refused(bundle: Bundle) -> None:
    missing = _right()
    del missing["ort-int8.npy"]
    for entries in (missing, {**_right(), "more.npy": _npy(ROWS)}):
        with pytest.raises(BundleError, match="one array for each"):
            _read(bundle, _npz(entries))


def test_a_file_that_could_unpack_to_more_is_refused(bundle: Bundle) -> None:
    bomb = _npz({**_right(), "ort-int8.npy": bytes(10_000_000)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    with pytest.raises(BundleError, match="stored"):
        _read(bundle, bomb)


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06", b"x" * 100])
def test_what_is_no_npz_is_refused(bundle: Bundle, data: bytes) -> None:
    with pytest.raises(BundleError, match=r"an \.npz file"):
        _read(bundle, data)
