from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from edgetl.data.decode import decode_image, encode_png
from edgetl.errors import DataError


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(13, 21, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True, "exact": True})]
)
def test_lossless_kinds_are_exact(rgb: np.ndarray, kind: str, options: dict[str, bool]) -> None:
    assert np.array_equal(decode_image(saved(Image.fromarray(rgb), kind, **options)), rgb)


@pytest.mark.parametrize("options", [{"quality": 80}, {"quality": 80, "progressive": True}])
def test_jpeg_is_pillows(rgb: np.ndarray, options: dict[str, int]) -> None:
    data = saved(Image.fromarray(rgb), "JPEG", **options)
    assert np.array_equal(decode_image(data), np.asarray(Image.open(io.BytesIO(data))))


def test_lossy_webp_is_pillows(rgb: np.ndarray) -> None:
    data = saved(Image.fromarray(rgb), "WEBP", quality=80)
    assert np.array_equal(decode_image(data), np.asarray(Image.open(io.BytesIO(data))))


def test_all_ways_in_are_one_way(rgb: np.ndarray, tmp_path: Path) -> None:
    data = encode_png(rgb)
    path = tmp_path / "picture.anything"
    path.write_bytes(data)
    for given in (data, bytearray(data), path, str(path), Image.open(path), rgb):
        decoded = decode_image(given)
        assert decoded.dtype == np.uint8
        assert decoded.flags.c_contiguous
        assert np.array_equal(decoded, rgb)


def test_grey_fills_three_channels(rgb: np.ndarray) -> None:
    grey = rgb[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    for given in (grey, grey[..., None], encode_png(grey), Image.fromarray(grey)):
        assert np.array_equal(decode_image(given), expected)


def test_png_round_trip_is_exact_and_repeatable(rgb: np.ndarray) -> None:
    for pixels in (rgb, rgb[:, ::2], rgb[..., 0], rgb[..., :1]):
        data = encode_png(pixels)
        assert np.array_equal(decode_image(data), decode_image(np.ascontiguousarray(pixels)))
        assert encode_png(pixels.copy()) == data


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(rgb: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind, options in (("PNG", {}), ("JPEG", {"quality": 90}), ("WEBP", {"lossless": True})):
        data = saved(Image.fromarray(rgb), kind, exif=exif, **options)
        expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        assert np.array_equal(decode_image(data), np.asarray(expected))
        assert np.array_equal(decode_image(Image.open(io.BytesIO(data))), np.asarray(expected))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4), np.uint16),
        np.zeros((4, 4), ">u2"),
        np.zeros((4, 4), object),
        np.zeros((0, 4), np.uint8),
        np.zeros(4, np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(DataError) as caught:
        decode_image(array)
    assert str(array.dtype) in caught.value.got
    if array.shape != (4, 4, 4):
        with pytest.raises(DataError):
            encode_png(array)


def test_other_types_are_refused() -> None:
    for thing in (None, 3, [1, 2], {"a": 1}):
        with pytest.raises(DataError, match=type(thing).__name__):
            decode_image(thing)
