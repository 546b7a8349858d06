from __future__ import annotations

import base64

import numpy as np
import pytest

from edgetl.data.decode import decode_image, encode_png
from edgetl.report import Flip
from edgetl.report.pictures import MAX_SIDE, pictures_of


def flip(picture: bytes | None, ours: np.ndarray | None, theirs: np.ndarray | None) -> Flip:
    return Flip(
        index=4,
        content_id="",
        label="cat",
        reference_class="cat",
        candidate_class="dog",
        reference_probability=0.6,
        candidate_probability=0.7,
        variant="int8",
        negative=True,
        picture=picture,
        reference_map=ours,
        variant_map=theirs,
    )


def pixels(uri: str) -> np.ndarray:
    return decode_image(base64.b64decode(uri.partition(",")[2])).astype(int)


def corner(value: float) -> np.ndarray:
    found = np.zeros((8, 8), np.float32)
    found[0, 0] = value
    return found


GREY = encode_png(np.full((300, 200, 3), 128, np.uint8))


def test_a_large_picture_is_shrunk_and_keeps_its_shape() -> None:
    (picture,) = pictures_of(flip(GREY, None, None))
    assert pixels(picture.uri).shape == (MAX_SIDE, round(MAX_SIDE * 2 / 3), 3)
    assert not picture.coarse and "cat" in picture.alt


def test_a_small_picture_keeps_its_pixels() -> None:
    small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    (picture,) = pictures_of(flip(encode_png(small), None, None))
    np.testing.assert_array_equal(pixels(picture.uri), small)
    assert picture.coarse


def test_the_overlay_is_warm_where_the_map_is_high_and_grey_elsewhere() -> None:
    _, ours, theirs = pictures_of(flip(GREY, corner(0.5), -corner(0.5)))
    warm, cool = pixels(ours.uri), pixels(theirs.uri)
    assert warm[2, 2, 0] - warm[2, 2, 2] > 60
    assert np.ptp(warm[-2, -2]) < 8 and np.ptp(cool[2, 2]) < 8
    assert "50 %" in ours.alt and "0 %" in theirs.alt


def test_both_maps_share_one_scale() -> None:
    _, strong, weak = pictures_of(flip(GREY, corner(0.5), corner(0.1)))
    saturation = [np.ptp(pixels(one.uri)[2, 2]) for one in (strong, weak)]
    assert saturation[0] > 2 * saturation[1]


@pytest.mark.parametrize(
    "wrong", [np.zeros((0, 3), np.float32), np.zeros(4, np.float32), np.full((4, 4), np.nan)]
)
def test_a_map_that_is_none_is_left_out(wrong: np.ndarray) -> None:
    assert len(pictures_of(flip(GREY, wrong, corner(0.2)))) == 2


@pytest.mark.parametrize("broken", [None, b"", b"GIF89a", GREY[:80]])
def test_what_is_no_picture_gives_none(broken: bytes | None) -> None:
    assert pictures_of(flip(broken, corner(0.2), None)) == ()
