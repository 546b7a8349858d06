"""How the transform of a network opens files itself: its own `decode`, where it has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PIL import Image

from edgetl.data.samples import EncodedImages
from edgetl.errors import ModelError
from edgetl.reference.probe import told_anywhere

Decode = Callable[[bytes], Any]


def own_decoder(transform: object, images: object) -> Decode | None:
    """The transform's method `decode`, when it has one and the images are files.

    Example:
        >>> own_decoder(object(), [])
    """
    decode = getattr(transform, "decode", None)
    return decode if callable(decode) and isinstance(images, EncodedImages) else None


def own_picture(decode: Decode, data: bytes, at: int) -> Image.Image:
    """A file through the user's own decoder.

    Raises:
        ModelError: When it raises, or returns anything but a Pillow image.

    Example:
        >>> import io
        >>> import numpy as np
        >>> from edgetl.data.decode import encode_png
        >>> data = encode_png(np.zeros((2, 3), np.uint8))
        >>> own_picture(lambda data: Image.open(io.BytesIO(data)), data, 0).size
        (3, 2)
    """
    try:
        picture = decode(data)
    except (Exception, SystemExit) as error:
        got = told_anywhere(error)
    else:
        if isinstance(picture, Image.Image):
            return picture
        got = type(picture).__name__
    raise ModelError(
        f"model.transform, decode() of image {at}",
        got=got,
        expected="a Pillow image of a file's bytes",
        fix="let decode(data) open the file as the network's training did",
    )


def check_decoder(transform: object, images: object, *, count: int) -> None:
    """Let the transform's own decoder open the first files: it is needed again at the very end.

    Args:
        transform: The network's own.
        images: Files, or pixels, which need no decoder.
        count: How many to try, at most.

    Raises:
        ModelError: As `own_picture` does.

    Example:
        >>> check_decoder(object(), [], count=4)
    """
    decode = own_decoder(transform, images)
    if decode is None or not isinstance(images, EncodedImages):
        return
    for at in range(min(count, len(images))):
        own_picture(decode, images.encoded[at], at)
