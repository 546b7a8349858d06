from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgetl.data.sources import (
    SOURCES,
    is_source,
    open_dataset,
    resolve_source,
    source_files,
)
from edgetl.errors import DataError

FASHION = Path("/usr/share/datasets/fashion-mnist")


def test_digits_are_scikit_learns_scaled_to_bytes() -> None:
    from sklearn.datasets import load_digits

    digits, theirs = open_dataset("builtin:digits"), load_digits()
    assert digits.images.dtype == np.uint8
    assert digits.images.shape == (1797, 8, 8)
    assert digits.images.min() == 0
    assert digits.images.max() == 255
    assert np.abs(digits.images / 255 * 16 - theirs.images).max() <= 0.5 * 16 / 255
    assert np.array_equal(digits.labels, theirs.target)
    assert digits.classes == tuple("0123456789")
    assert digits.given_split is None
    assert len(set(digits.ids)) == 1797


def test_classes_can_be_renamed() -> None:
    names = tuple(f"digit {i}" for i in range(10))
    assert open_dataset("builtin:digits", classes=names).classes == names
    with pytest.raises(DataError, match="9 names for 10 labels"):
        open_dataset("builtin:digits", classes=names[:9])
    with pytest.raises(DataError, match="no image of 'more'"):
        open_dataset("builtin:digits", classes=(*names, "more"))


@pytest.mark.parametrize(
    "source", ["photos:pets", "folder:", "builtin:cats", "", "digits", "idx:", "IDX:x"]
)
def test_an_unknown_source_names_those_that_exist(source: str) -> None:
    with pytest.raises(DataError) as caught:
        open_dataset(source)
    for known in SOURCES:
        assert known in str(caught.value)


@pytest.mark.needs_fashion_mnist
@pytest.mark.skipif(not FASHION.is_dir(), reason="Debian package dataset-fashion-mnist is absent")
def test_fashion_mnist() -> None:
    fashion = open_dataset(f"idx:{FASHION}")
    assert fashion.images.shape == (70000, 28, 28)
    assert fashion.given_split is not None
    assert fashion.given_split.count("test") == 10000
    assert np.bincount(fashion.labels).tolist() == [7000] * 10
    assert len(set(fashion.ids)) == 70000


def test_no_torch_is_imported() -> None:
    rooms = "card, dataset, decode, idx, letters, preprocess, sources, splits, store"
    program = (
        f"import sys\nfrom edgetl.data import {rooms}\n"
        "assert not {'torch', 'torchvision', 'sklearn', 'scipy', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_source_is_told_from_a_path() -> None:
    assert all(is_source(source) for source in (*SOURCES, "folder:", "builtin:cats"))
    assert not any(is_source(text) for text in ("", "pets.edgetl", "C:/pets", "folder", "a/idx:b"))


def test_paths_are_made_absolute(tmp_path: Path) -> None:
    (tmp_path / "real" / "pets").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for kind in ("idx", "folder", "csv", "npz", "huggingface"):
        assert resolve_source(f"{kind}:pets", tmp_path / "real") == f"{kind}:{tmp_path}/real/pets"
        assert resolve_source(f"{kind}:/x", tmp_path) == f"{kind}:/x"
    assert resolve_source("folder:pets/../..", tmp_path / "link") == f"folder:{tmp_path}"
    for other in ("builtin:digits", "photos:pets", "digits", "folder:", ""):
        assert resolve_source(other, tmp_path) == other


def test_source_files_complain_of_nothing(tmp_path: Path) -> None:
    for kind in ("idx", "folder", "csv", "npz", "huggingface", "photos", "builtin"):
        assert source_files(f"{kind}:{tmp_path / 'absent'}") == {}
    for text in ("", "builtin:digits", "folder:"):
        assert source_files(text) == {}


def test_source_files_of_idx_are_by_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "c").symlink_to(tmp_path / "a")
    (tmp_path / "d").mkdir()
    assert source_files(f"idx:{tmp_path}") == {
        name: hashlib.sha256(name.encode()).hexdigest() for name in "ab"
    }
