"""One way from an encoded picture to RGB pixels, for training and for prediction alike.

What a picture becomes:

- JPEG, PNG, WEBP and BMP are read, told apart by their first bytes, never by a file's name.
- The EXIF orientation is applied, so that a picture has the pixels that a viewer shows.
- Grey, 1-bit and palette pictures become RGB; CMYK is converted by Pillow's formula, without
  colour management.
- Transparent pixels are laid over white; alpha that is opaque everywhere changes nothing.
- 16 bits a channel are scaled to 8 by keeping the high byte, grey and colour alike (Pillow by
  itself saturates grey). 32-bit pixels are refused: their range is not known.
- An animation is refused: which frame counts is not guessed. Of a JPEG that holds several
  pictures, as phones write them, the first one is taken.
- A truncated file, and more than 64 million pixels, are refused, the latter before decoding.
  (A process that sets Pillow's LOAD_TRUNCATED_IMAGES gets what it asked Pillow for.)
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from edgetl.data.regular_file import open_regular
from edgetl.errors import DataError
from edgetl.spec import Array

MAX_PIXELS = 64_000_000
"""The largest picture that is decoded, in pixels."""

MAX_FILE_BYTES = 256 << 20
"""The largest encoded picture that is read, in bytes."""

_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
_EXPECTED = "a JPEG, PNG, WEBP or BMP picture"


def decode_image(data: bytes | str | os.PathLike[str] | Image.Image | Array) -> NDArray[np.uint8]:
    """RGB pixels of one picture.

    Args:
        data: An encoded picture as bytes, the path of one, a Pillow image, or an array uint8
            [height, width], [height, width, 1] or [height, width, 3].

    Returns:
        uint8 [height, width, 3], C-contiguous; an RGB array that is so already comes back itself.

    Raises:
        DataError: When it is not one whole picture of the kinds above, or it is too large.

    Example:
        >>> decode_image(encode_png(np.full((2, 5), 7, np.uint8)))[0, 0]
        array([7, 7, 7], dtype=uint8)
    """
    if isinstance(data, np.ndarray):
        return _from_array(data)
    if isinstance(data, Image.Image):
        return _guarded(data, "image")
    if isinstance(data, str | os.PathLike):
        return _from_bytes(_read(Path(data)), f"image {os.fspath(data)}")
    if isinstance(data, bytes | bytearray | memoryview):
        return _from_bytes(bytes(data), "image")
    raise DataError(
        "image",
        got=f"a {type(data).__name__}",
        expected="a path, bytes, a Pillow image or a uint8 array",
        fix="pass one of these",
    )


def encode_png(pixels: Array) -> bytes:
    """Pixels as a PNG: the same bytes for the same pixels and Pillow version.

    Args:
        pixels: uint8 [height, width] or [height, width, 3].

    Raises:
        DataError: For any other array.

    Example:
        >>> encode_png(np.zeros((2, 2, 3), np.uint8))[1:4]
        b'PNG'
    """
    _check_array(pixels)
    stream = io.BytesIO()
    plain = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    Image.fromarray(np.ascontiguousarray(plain)).save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def _from_array(pixels: Array) -> NDArray[np.uint8]:
    _check_array(pixels)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels)


def _check_array(pixels: Array) -> None:
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3))
    if pixels.dtype != np.uint8 or not fits or pixels.size == 0:
        raise DataError(
            "image array",
            got=f"{pixels.dtype} {pixels.shape}",
            expected="uint8 [height, width] or [height, width, 3]",
            fix="scale to 0..255, put the channels last (RGB, no alpha), convert to uint8",
        )


def _read(path: Path) -> bytes:
    with open_regular(path, follow_links=True) as stream:
        data = stream.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise DataError(
            f"image {path}",
            got=f"more than {MAX_FILE_BYTES >> 20} MiB",
            expected=_EXPECTED,
            fix="make the picture smaller",
        )
    return data


def _from_bytes(data: bytes, subject: str) -> NDArray[np.uint8]:
    reader = _reader(data, subject)
    try:
        # The reader's class is called in place of Image.open, whose own limit on pixels warns or
        # raises depending on the process's settings; here the limit is always the same.
        image = reader(io.BytesIO(data))
    except Exception as error:
        raise _undecodable(subject, error) from error
    return _guarded(image, subject)


def looks_like_picture(head: bytes) -> bool:
    """Whether a file that begins so (16 bytes are enough) is of a kind that is read here.

    Example:
        >>> looks_like_picture(b"\\x89PNG\\r\\n\\x1a\\n"), looks_like_picture(b"GIF89a")
        (True, False)
    """
    return _kind(head) is not None


def _kind(head: bytes) -> type[ImageFile.ImageFile] | None:
    if head.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WebPImageFile
    return BmpImageFile if head.startswith(b"BM") else None


def _reader(data: bytes, subject: str) -> type[ImageFile.ImageFile]:
    kind = _kind(data)
    if kind is WebPImageFile:
        _check_size(*_webp_size(data), subject)
    if kind is not None:
        return kind
    raise DataError(
        subject,
        got="0 bytes" if not data else f"bytes that begin with {data[:8].hex(' ')}",
        expected=_EXPECTED,
        fix="convert it to PNG or JPEG; a file's ending does not say what it is",
    )


def _webp_size(data: bytes) -> tuple[int, int]:
    # libwebp allocates its canvas when the file is opened, so the size is read first, from the
    # first chunk (RFC 9649, sections 2.5 to 2.7).
    kind, body = data[12:16], data[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        width = int.from_bytes(body[4:7], "little") + 1
        return width, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return (
        int.from_bytes(body[6:8], "little") & 0x3FFF,
        int.from_bytes(body[8:10], "little") & 0x3FFF,
    )


def _guarded(image: Image.Image, subject: str) -> NDArray[np.uint8]:
    _check_size(image.width, image.height, subject)
    if getattr(image, "is_animated", False):
        raise DataError(
            subject,
            got=f"an animation of {getattr(image, 'n_frames', 'several')} frames",
            expected="one still picture",
            fix="save the frame that you mean as a PNG",
        )
    if image.mode not in _SIXTEEN_BIT + _WITH_ALPHA + _PLAIN:
        raise DataError(
            subject,
            got=f"pixels of Pillow's mode {image.mode}",
            expected="8 or 16 bits a channel, grey, palette, RGB or CMYK",
            fix="convert it to 8-bit RGB: what its values mean is not guessed",
        )
    try:
        # Pillow's readers answer damaged files with whatever error they stumble on.
        return np.ascontiguousarray(_rgb(image))
    except Exception as error:
        raise _undecodable(subject, error) from error


def _check_size(width: int, height: int, subject: str) -> None:
    if width * height > MAX_PIXELS:
        raise DataError(
            subject,
            got=f"{width} × {height} pixels",
            expected=f"at most {MAX_PIXELS // 10**6} million pixels",
            fix="make the picture smaller",
        )
    if width < 1 or height < 1:
        raise DataError(
            subject, got="no pixels", expected=_EXPECTED, fix="pass a picture that has pixels"
        )


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    image.load()
    transpose = _TRANSPOSE.get(_orientation(image))
    if image.mode in _SIXTEEN_BIT:
        values = np.asarray(image)
        grey = (values >> 8).astype(np.uint8)
        if (hidden := image.info.get("transparency")) is not None:
            grey[values == hidden] = 255
        image = Image.fromarray(grey)
    elif image.mode in _WITH_ALPHA or "transparency" in image.info:
        image = _over_white(image.convert("RGBA"))
    elif image.mode != "RGB":
        image = image.convert("RGB")
    if transpose is not None:
        image = image.transpose(transpose)
    return np.asarray(image.convert("RGB"))


def _orientation(image: Image.Image) -> Any:
    return image.getexif().get(_ORIENTATION)


def _over_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def _undecodable(subject: str, error: Exception) -> DataError:
    return DataError(
        subject,
        got=f"a file that cannot be decoded: {str(error) or type(error).__name__}",
        expected=_EXPECTED + ", whole",
        fix="copy or export the picture again",
    )
