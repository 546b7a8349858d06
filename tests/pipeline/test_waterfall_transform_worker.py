from __future__ import annotations

import numpy as np
import pytest

from edgetl.data.decode import encode_png
from edgetl.errors import ModelError
from edgetl.pipeline.waterfall_transform_worker import own_picture


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
