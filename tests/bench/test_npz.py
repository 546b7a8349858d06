from __future__ import annotations

import numpy as np
import pytest

from edgetl.bench.npz import read_npz, write_npz
from edgetl.errors import DataError


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(["a", "ßß"]),
        np.array("text"),
        np.zeros((0, 3)),
        np.array([True, False]),
        np.arange(3, dtype=">f4"),
    ],
)
def test_arrays_come_back(tmp_path, array):
    write_npz(tmp_path / "a.npz", {"x": array})
    back = read_npz(tmp_path / "a.npz")["x"]
    assert np.array_equal(back, array)
    assert back.dtype.isnative
    assert back.flags.writeable
    with np.load(tmp_path / "a.npz") as plain:
        assert np.array_equal(plain["x"], array)


def test_the_error_is_the_callers(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_npz(tmp_path / "a.npz", error=DataError)
