"""Pictures that are damaged, oversized, mislabelled or unusual: a clear error or exact pixels."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.data.decode import MAX_PIXELS, decode_image, encode_png
from edgetl.errors import DataError

RNG = np.random.default_rng(0)
RGB = RNG.integers(256, size=(40, 50, 3), dtype=np.uint8)
GREY16 = RNG.integers(65536, size=(12, 9), dtype=np.uint16)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", head),
            *extra,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        )
    )


def png_bomb() -> bytes:
    # 60,000 × 60,000 black pixels are 10.8 GB; packed they are a few hundred bytes a block.
    return png(60_000, 60_000, 8, 2, bytes(1 << 20))


def webp_bomb() -> bytes:
    lossless = saved(Image.new("RGB", (4, 4)), "WEBP", lossless=True)
    # The canvas of an extended file (VP8X) is made as large as the format can say.
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\xff" * 2
    body = b"WEBP" + extended + lossless[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_lossless_bomb() -> bytes:
    data = bytearray(saved(Image.new("RGB", (4, 4)), "WEBP", lossless=True))
    at = data.index(b"VP8L") + 9
    (bits,) = struct.unpack_from("<I", data, at)
    struct.pack_into("<I", data, at, bits | 0x0FFFFFFF)
    return bytes(data)


def bmp_bomb() -> bytes:
    data = bytearray(saved(Image.new("RGB", (4, 4)), "BMP"))
    struct.pack_into("<ii", data, 18, 60_000, 60_000)
    return bytes(data)


def jpeg_bomb() -> bytes:
    data = bytearray(saved(Image.new("RGB", (8, 8)), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    struct.pack_into(">HH", data, at, 65_000, 65_000)
    return bytes(data)


BOMBS: dict[str, Callable[[], bytes]] = {
    "png": png_bomb,
    "webp": webp_bomb,
    "webp-lossless": webp_lossless_bomb,
    "bmp": bmp_bomb,
    "jpeg": jpeg_bomb,
}

REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "0 bytes"),
    "text": (b"hello, I am not a picture", "begin with"),
    "html": (b"<html><body>404</body></html>", "begin with"),
    "tiff": (saved(Image.fromarray(RGB), "TIFF"), "begin with 49 49 2a"),
    "gif": (saved(Image.fromarray(RGB), "GIF"), "begin with 47 49 46"),
    "half a jpeg": (saved(Image.fromarray(RGB), "JPEG")[:900], "truncated"),
    "half a png": (encode_png(RGB)[:3000], "truncated"),
    "half a webp": (saved(Image.fromarray(RGB), "WEBP", lossless=True)[:2000], "decoded"),
    "half a bmp": (saved(Image.fromarray(RGB), "BMP")[:3000], "truncated"),
    "only a signature": (b"\x89PNG\r\n\x1a\n", "decoded"),
    "two bytes": (b"\xff\xd8", "begin with"),
    "damaged png": (encode_png(RGB)[:20] + b"\xff" * 400, "decoded"),
    "no width": (png(0, 5, 8, 0, b""), "pixels|decoded"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_clear_error(name: str, tmp_path: Path) -> None:
    data, got = REFUSED[name]
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    for given in (data, path):
        with pytest.raises(DataError, match=got) as caught:
            decode_image(given)
        assert "JPEG, PNG, WEBP or BMP" in caught.value.expected
    assert "picture.jpg" in caught.value.subject


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(name: str) -> None:
    with pytest.raises(DataError, match="million pixels"):
        decode_image(BOMBS[name]())


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_little(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(BOMBS[name]())
    program = f"""
import time
from pathlib import Path
from edgetl.data.decode import decode_image, encode_png
from edgetl.errors import DataError
import numpy as np
decode_image(encode_png(np.zeros((9, 9), np.uint8)))
def peak():
    # Not ru_maxrss: a child inherits its parent's.
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
start = time.process_time()
try:
    decode_image({str(path)!r})
except DataError:
    print(time.process_time() - start)
    print(peak() - before)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    seconds, kilobytes = (float(line) for line in run.stdout.split())
    assert seconds < 0.1
    assert kilobytes < 50_000


def test_the_limit_does_not_depend_on_pillows_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(DataError, match="million pixels"):
        decode_image(png_bomb())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert np.array_equal(decode_image(encode_png(RGB)), RGB)


def test_a_pillow_image_has_the_same_limit() -> None:
    side = int(MAX_PIXELS**0.5) + 1
    with pytest.raises(DataError, match="million pixels"):
        decode_image(Image.new("1", (side, side)))


def test_16_bit_grey_keeps_the_high_byte() -> None:
    expected = np.repeat((GREY16 >> 8).astype(np.uint8)[..., None], 3, axis=2)
    picture = Image.fromarray(GREY16)
    assert np.array_equal(decode_image(saved(picture, "PNG")), expected)
    assert np.array_equal(decode_image(picture), expected)


def test_16_bit_colour_keeps_the_high_byte_too() -> None:
    values = RNG.integers(65536, size=(4, 5, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    assert np.array_equal(decode_image(png(5, 4, 16, 2, rows)), (values >> 8).astype(np.uint8))


@pytest.mark.parametrize("mode", ["I", "F", "LAB", "HSV"])
def test_modes_without_a_known_range_are_refused(mode: str) -> None:
    with pytest.raises(DataError, match=f"mode {mode}"):
        decode_image(Image.new(mode, (4, 4)))


def test_cmyk_is_converted_as_pillow_does() -> None:
    data = saved(Image.fromarray(RGB).convert("CMYK"), "JPEG", quality=95)
    expected = Image.open(io.BytesIO(data)).convert("RGB")
    decoded = decode_image(data)
    assert np.array_equal(decoded, np.asarray(expected))
    # Not inverted: dark stays dark.
    assert np.corrcoef(decoded.ravel(), RGB.ravel())[0, 1] > 0.5


def test_palette() -> None:
    picture = Image.fromarray(RGB).quantize(16)
    assert np.array_equal(decode_image(saved(picture, "PNG")), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("transparency", [3, bytes([255, 0, 128, 255])])
def test_palette_with_transparency_lies_over_white(transparency: int | bytes) -> None:
    picture = Image.new("P", (4, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    picture.putdata([0, 1, 2, 3])
    decoded = decode_image(saved(picture, "PNG", transparency=transparency))[0].tolist()
    assert decoded[0] == [10, 20, 30]
    if isinstance(transparency, int):
        assert decoded[1:] == [[40, 50, 60], [70, 80, 90], [255, 255, 255]]
    else:
        half = [round((value * 128 + 255 * 127) / 255) for value in (70, 80, 90)]
        assert decoded[1] == [255, 255, 255]
        assert np.abs(np.array(decoded[2]) - half).max() <= 1
        assert decoded[3] == [100, 110, 120]


def test_alpha() -> None:
    opaque = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    hidden = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])
    assert np.array_equal(decode_image(saved(Image.fromarray(opaque), "PNG")), RGB)
    assert (decode_image(saved(Image.fromarray(hidden), "PNG")) == 255).all()
    grey = Image.fromarray(np.ascontiguousarray(hidden[..., 2:]))
    assert grey.mode == "LA"
    assert (decode_image(saved(grey, "PNG")) == 255).all()


def test_one_bit() -> None:
    bits = RGB[..., 0] > 127
    decoded = decode_image(saved(Image.fromarray(bits), "PNG"))
    assert np.array_equal(decoded[..., 1], np.where(bits, 255, 0))


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_an_animation_is_refused(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), (40 * i, 0, 0)) for i in range(3)]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    with pytest.raises(DataError, match="3 frames"):
        decode_image(data)
    with pytest.raises(DataError, match="3 frames"):
        decode_image(Image.open(io.BytesIO(data)))


def test_of_a_phones_multi_picture_jpeg_the_first_is_taken() -> None:
    frames = [Image.fromarray(RGB), Image.new("RGB", (50, 40))]
    data = saved(frames[0], "MPO", save_all=True, append_images=frames[1:])
    first = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(decode_image(data), first)
    assert first.std() > 20


def test_a_fifo_or_folder_in_place_of_a_picture_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "picture.png"
    os.mkfifo(fifo)
    with pytest.raises(DataError, match="FIFO"):
        decode_image(fifo)
    with pytest.raises(DataError, match="folder"):
        decode_image(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        decode_image(tmp_path / "absent.png")


def test_every_truncation_is_an_error_or_the_whole_picture() -> None:
    small = RGB[:8, :8]
    for kind, options in (("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True, "exact": True})):
        data = saved(Image.fromarray(small), kind, **options)
        for length in range(len(data)):
            try:
                decoded = decode_image(data[:length])
            except DataError:
                continue
            assert np.array_equal(decoded, small), (kind, length)


def test_flipped_bits_never_escape_as_another_error() -> None:
    rng = np.random.default_rng(1)
    pictures = [
        saved(Image.fromarray(RGB[:10, :10]), kind) for kind in ("PNG", "JPEG", "WEBP", "BMP")
    ]
    refused = 0
    for data in pictures:
        for _ in range(200):
            damaged = bytearray(data)
            damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
            try:
                decoded = decode_image(bytes(damaged))
            except DataError:
                refused += 1
            else:
                assert decoded.dtype == np.uint8
                assert decoded.shape[2] == 3
    assert refused > 50
