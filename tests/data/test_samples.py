from __future__ import annotations

import numpy as np
import pytest

from edgetl.data.decode import encode_png
from edgetl.data.preprocess import to_inputs
from edgetl.data.samples import EncodedImages, SeveralSamples
from edgetl.errors import DataError
from edgetl.spec import ImageInput, SeveralInputs, TensorInput

RNG = np.random.default_rng(0)
PIXELS = [RNG.integers(0, 256, (5 + i, 9 - i, 3), dtype=np.uint8) for i in range(4)]
PICTURES = EncodedImages(tuple(encode_png(image) for image in PIXELS))


def test_encoded_pictures_are_read_as_an_array_would_be() -> None:
    assert len(PICTURES) == 4
    for read, image in zip(PICTURES, PIXELS, strict=True):
        np.testing.assert_array_equal(read, image)
    np.testing.assert_array_equal(PICTURES[2], PIXELS[2])
    assert PICTURES[1:3].encoded == PICTURES.encoded[1:3]
    chosen = PICTURES[np.array([3, 0])]
    assert chosen.encoded == (PICTURES.encoded[3], PICTURES.encoded[0])


def test_several_go_by_name_and_stay_together() -> None:
    both = SeveralSamples({"photo": PICTURES, "reading": np.arange(8.0).reshape(4, 2)})
    part = both[np.array([2, 1])]
    assert len(part) == 2
    np.testing.assert_array_equal(part[0]["photo"], PIXELS[2])
    assert [row["reading"].tolist() for row in part] == [[4.0, 5.0], [2.0, 3.0]]


def test_parts_of_different_length_are_refused() -> None:
    with pytest.raises(DataError, match="4 of photo, 3 of reading"):
        SeveralSamples({"photo": PICTURES, "reading": np.zeros((3, 2))})


def test_inputs_are_what_the_spec_names() -> None:
    photo, reading = ImageInput(height=4, width=4), TensorInput(shape=(2,))
    both = SeveralInputs(parts={"photo": photo, "reading": reading})
    samples = SeveralSamples({"reading": np.ones((4, 2), np.float32), "photo": PICTURES})
    inputs = to_inputs(samples, both)
    assert list(inputs) == ["photo", "reading"]
    assert inputs["photo"].shape == (4, 4, 4, 3) and inputs["reading"].shape == (4, 2)
    for wrong, spec in ((PICTURES, both), (samples, photo)):
        with pytest.raises(DataError, match="expected"):
            to_inputs(wrong, spec)
    with pytest.raises(DataError, match="the inputs photo, reading"):
        to_inputs(SeveralSamples({"photo": PICTURES}), both)
