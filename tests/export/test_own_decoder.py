from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from edgetl.data.decode import encode_png
from edgetl.data.samples import EncodedImages
from edgetl.errors import ModelError
from edgetl.export.own_decoder import check_decoder, own_decoder, own_picture


@pytest.mark.parametrize(
    ("decode", "said"),
    [
        (lambda data: "a picture", "got str"),
        (lambda data: {}[data], "got KeyError"),
        (lambda data: exit(3), "got SystemExit: 3"),
    ],
)
def test_a_decoder_that_gives_no_picture_is_named(decode, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        own_picture(decode, encode_png(np.zeros((2, 3), np.uint8)), 4)
    assert caught.value.subject == "model.transform, decode() of image 4"


class _Opens:
    """A transform with a decoder that gives up at some file."""

    def __init__(self, fails_at: int) -> None:
        self.opened, self.fails_at = 0, fails_at

    def decode(self, data: bytes) -> Image.Image:
        self.opened += 1
        if self.opened > self.fails_at:
            raise OSError("no such codec")
        return Image.open(io.BytesIO(data))


def test_a_decoder_that_fails_is_met_among_the_first_files() -> None:
    files = EncodedImages((encode_png(np.zeros((2, 3), np.uint8)),) * 5)
    check_decoder(_Opens(5), files, count=8)
    check_decoder(_Opens(2), files, count=2)
    with pytest.raises(ModelError, match="no such codec") as caught:
        check_decoder(_Opens(2), files, count=8)
    assert caught.value.subject == "model.transform, decode() of image 2"


def test_pixels_need_no_decoder() -> None:
    pixels = np.zeros((4, 2, 3), np.uint8)
    assert own_decoder(_Opens(0), pixels) is None
    check_decoder(_Opens(0), pixels, count=4)
