from __future__ import annotations

import hashlib

import numpy as np
import pytest

from edgetl.data.content import check_samples, content_id, joined_id, sample_ids, stored_ids
from edgetl.data.samples import EncodedImages, SeveralSamples
from edgetl.errors import DataError
from tests.data.helpers.pictures import encoded, pixels


def test_an_encoded_picture_is_known_by_its_pixels() -> None:
    image = pixels(0)
    both = EncodedImages((encoded(image), encoded(image, "BMP")))
    assert sample_ids(both) == (content_id(image),) * 2
    assert stored_ids(both) == tuple(hashlib.sha256(one).hexdigest() for one in both.encoded)


def test_a_grey_picture_has_the_id_of_its_rgb_pixels() -> None:
    grey = pixels(0)[..., 0]
    assert sample_ids(EncodedImages((encoded(grey),))) == (content_id(np.dstack([grey] * 3)),)


def test_several_inputs_are_one_id_of_all_with_their_names() -> None:
    left, right = np.ones((1, 2), np.float32), np.zeros((1, 2), np.float32)
    one = sample_ids(SeveralSamples({"a": left, "b": right}))
    assert one == (joined_id({"b": content_id(right[0]), "a": content_id(left[0])}),)
    assert one == sample_ids(SeveralSamples({"b": right, "a": left}))
    assert one != sample_ids(SeveralSamples({"a": right, "b": left}))
    assert one != sample_ids(SeveralSamples({"a": left, "c": right}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_and_the_sample_is_named(value: float) -> None:
    tensors = np.zeros((5, 3), np.float32)
    tensors[3, 1] = value
    with pytest.raises(DataError, match="sample 3"):
        check_samples(tensors, "toy")
    with pytest.raises(DataError, match="input sound"):
        check_samples(SeveralSamples({"sound": tensors, "x": tensors}), "toy")


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((3, 4), np.float64),
        np.zeros((3, 4), ">f4"),
        np.zeros((3, 4), np.uint8),
        np.zeros((3, 0), np.float32),
        np.zeros((3, 4), np.int64),
        EncodedImages((b"",)),
        SeveralSamples({"not a name": np.zeros((3, 2), np.float32)}),
    ],
    ids=["float64", "big-endian", "flat bytes", "no values", "int64", "empty file", "name"],
)
def test_other_samples_are_refused(samples) -> None:
    with pytest.raises(DataError, match="samples of toy"):
        check_samples(samples, "toy")
