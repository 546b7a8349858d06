"""npz files that are pickles, bombs, halves or lies: one clear error each."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgetl.data.sources import open_dataset
from edgetl.errors import DataError

LABELS = np.array([0, 1] * 4)
TENSORS = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)


def refused(path: Path, *said: str) -> None:
    with pytest.raises(DataError) as caught:
        open_dataset(f"npz:{path}")
    assert caught.value.exit_code == 2
    assert path.name in str(caught.value)
    for one in said:
        assert one in str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.npz"


class Canary:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("canary",)


def test_a_pickled_array(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    np.savez(path, labels=LABELS, x=np.array([Canary()] * 8, object))
    refused(path, "a pickle, which is never opened")
    path.write_bytes(pickle.dumps(Canary()))
    refused(path)
    assert not Path("canary").exists()


def test_a_truncated_file(path: Path) -> None:
    np.savez(path, labels=LABELS, x=TENSORS)
    data = path.read_bytes()
    for length in (0, 1, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        refused(path)


def test_flipped_bits_are_noticed_or_harmless(path: Path) -> None:
    np.savez(path, labels=LABELS, x=TENSORS)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    noticed = 0
    for _ in range(200):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            dataset = open_dataset(f"npz:{path}")
        except DataError:
            noticed += 1
        else:
            assert np.array_equal(dataset.images, TENSORS)
            assert np.array_equal(dataset.labels, LABELS)
    assert noticed > 100


@pytest.mark.parametrize("shape", ["(1000000000, 1000)", "(99999999999999999999,)", "(-1, 5)"])
def test_a_header_that_claims_a_huge_shape(path: Path, shape: str) -> None:
    np.savez(path, labels=LABELS)
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(160)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.npy", member)
    tracemalloc.start()
    refused(path, "claims")
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


def test_a_bomb_over_the_limit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgetl.data.npz_arrays.MAX_BYTES", 1 << 20)
    np.savez_compressed(path, labels=LABELS, x=np.zeros((8, 1 << 20), np.float32))
    assert path.stat().st_size < 1 << 18
    tracemalloc.start()
    refused(path, "more than")
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_tensors_that_are_not_finite(path: Path, value: float) -> None:
    tensors = TENSORS.copy()
    tensors[6, 2] = value
    np.savez(path, labels=LABELS, x=tensors)
    refused(path, "sample 6")


def test_labels_that_are_floats(path: Path) -> None:
    np.savez(path, labels=LABELS.astype(np.float64), x=TENSORS)
    refused(path, "labels float64")


def test_one_class_no_samples_and_a_gap(path: Path) -> None:
    def refused_labels(labels: np.ndarray, said: str) -> None:
        np.savez(path, labels=labels, x=TENSORS[: len(labels)])
        with pytest.raises(DataError, match=said):
            open_dataset(f"npz:{path}")

    refused_labels(LABELS * 0, "1 class")
    refused_labels(LABELS[:0], "1 class")
    refused_labels(LABELS * 2, "no image of '1'")
    # Names for that many classes are not even made.
    refused_labels(LABELS * (2**31 - 2), "the label 2147483646 for 8 samples")


def test_something_else_in_place_of_the_file(path: Path) -> None:
    refused(path, "no such file")
    os.mkfifo(path)
    refused(path, "FIFO")
    path.unlink()
    path.mkdir()
    refused(path, "a folder")
    path.rmdir()
    stream = io.BytesIO()
    np.save(stream, TENSORS)
    path.write_bytes(stream.getvalue())
    refused(path, "npz")
