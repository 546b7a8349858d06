from __future__ import annotations

import numpy as np
import pytest

from edgetl.errors import DataError, SpecError
from edgetl.quantize.ranges import Range, check_ptq_samples
from edgetl.spec import TensorSpec

PIXELS = TensorSpec(name="image", dtype="uint8", shape=(None, 2, 2, 3))
FLOATS = TensorSpec(name="features", dtype="float32", shape=(None, 3))


def test_a_union_holds_both_ranges() -> None:
    assert Range(low=-1, high=2) | Range(low=-3, high=1) == Range(low=-3, high=2)


def test_samples_that_differ_are_accepted() -> None:
    check_ptq_samples(np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3), PIXELS)
    check_ptq_samples(np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3), PIXELS)


@pytest.mark.parametrize("none", [np.empty((0, 2, 2, 3), np.uint8), np.uint8(3), None])
def test_no_samples_are_refused(none: object) -> None:
    with pytest.raises(DataError, match="got none"):
        check_ptq_samples(none, PIXELS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_nan_is_refused_and_its_sample_named(value: float) -> None:
    samples = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    samples[3, 1] = value
    with pytest.raises(DataError, match="NaN or infinity in sample 3"):
        check_ptq_samples(samples, FLOATS)


def test_constant_data_is_refused() -> None:
    with pytest.raises(DataError, match=r"constant data \(every value is 7\)"):
        check_ptq_samples(np.full((4, 2, 2, 3), 7, np.uint8), PIXELS)
    one = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    with pytest.raises(DataError, match=r"constant data \(one input 4 times\)"):
        check_ptq_samples(np.repeat(one, 4, axis=0), PIXELS)


def test_another_dtype_or_shape_is_refused() -> None:
    with pytest.raises(SpecError, match="float32"):
        check_ptq_samples(np.random.default_rng(0).random((2, 2, 2, 3)).astype(np.float32), PIXELS)
    with pytest.raises(SpecError, match="shape"):
        check_ptq_samples(np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2), PIXELS)
