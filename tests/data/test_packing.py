from __future__ import annotations

import numpy as np
import pytest

from edgetl.data.packing import (
    pack_samples,
    pack_slices,
    text_array,
    texts_of,
    unpack_samples,
    unpack_slices,
)
from edgetl.data.samples import EncodedImages, SeveralSamples

ENCODED = EncodedImages((b"abc", b"d", b"ef"))


def test_several_inputs_come_back_in_order() -> None:
    samples = SeveralSamples({"z": np.ones((3, 2), np.float32), "a": ENCODED})
    back = unpack_samples(pack_samples(samples))
    assert isinstance(back, SeveralSamples)
    assert list(back.parts) == ["z", "a"]
    assert back.parts["a"].encoded == ENCODED.encoded


@pytest.mark.parametrize("count", [0, 1, 3])
def test_any_number_of_encoded_pictures(count: int) -> None:
    some = ENCODED[:count]
    assert unpack_samples(pack_samples(some)).encoded == some.encoded


@pytest.mark.parametrize(
    "offsets", [[0, 3, 4], [1, 3, 4, 6], [0, 4, 3, 6], [0, 3, 3, 6], [0, 3, 4, 7], [], [0.0, 6.0]]
)
def test_offsets_that_do_not_fit_are_refused(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="offsets"):
        unpack_samples(pack_samples(ENCODED) | {"offsets": np.array(offsets)})


def test_a_missing_array_is_named() -> None:
    with pytest.raises(ValueError, match="offsets"):
        unpack_samples({"encoded": np.zeros(3, np.uint8)})
    with pytest.raises(ValueError, match=r"slice\.a"):
        unpack_slices({"slices": text_array(["a"])})


def test_texts() -> None:
    for texts in ((), ("",), ("é", "", "longer than that")):
        assert texts_of(text_array(list(texts))) == texts
    slices = {"site": ("é", ""), "night": ("1", "0")}
    assert unpack_slices(pack_slices(slices)) == slices
    assert unpack_slices(pack_slices(None)) is None
    with pytest.raises(ValueError, match="int64"):
        texts_of(np.arange(3))
