"""Rendered Latin letters: the source domain that small networks are pretrained on.

No network and no download: Pillow brings the one typeface, and what a single typeface lacks in
variety is made up by drawing each letter anew: its size, place, slant, turn, stroke, wobble,
sharpness, resolution, brightness, shading, polarity and noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from edgetl.data.dataset import Dataset, content_ids
from edgetl.errors import DataError

_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTER_CLASSES = tuple(_UPPER)
"""The 26 classes: a letter is one class, in upper and in lower case."""

_MASTER = 64
_MASTER_BOX = 46
_FONT_SIZE = 64
# Outline thickness in pixels at the font's size: from thin to heavy.
_STROKES = (0, 1, 3, 5)
_HOLLOW = (6, 2)
_CELLS = 3
_CHUNK = 2048

_Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class _Pose:
    """Where each of the drawing's control points lies in the master glyph, in pixels."""

    points: NDArray[np.float64]
    resolution: NDArray[np.int64]
    blur: NDArray[np.float64]
    filters: NDArray[np.int64]


def render_letters(per_class: int, *, seed: int, size: int = 28) -> Dataset:
    """Grey images of letters, as many of each class.

    Each image is drawn from random numbers of its own: stroke (thin to heavy, or hollow), size,
    aspect, place, rotation within ±15°, shear, a smooth wobble of the lines, a resolution from 8
    pixels up, blur, brightness of letter and ground (light on black, light on dark, dark on
    light), shading, and noise.

    Args:
        per_class: Images of each of the 26 classes.
        seed: The same seed gives the same images, with the same versions of numpy and Pillow.
        size: Height and width in pixels, at least 8.

    Returns:
        uint8 [26 × per_class, size, size]. The classes take turns, so that any run of 26 images
        has one of each.

    Raises:
        DataError: When `per_class` is below 1 or `size` below 8.

    Example:
        >>> letters = render_letters(2, seed=0)
        >>> letters.images.shape, letters.classes[:3]
        ((52, 28, 28), ('A', 'B', 'C'))
    """
    if per_class < 1 or size < 8:
        raise DataError(
            "rendered letters",
            got=f"{per_class} images a class of {size} × {size} pixels",
            expected="at least 1 image a class, and 8 × 8 pixels",
            fix="ask for more",
        )
    rng = np.random.default_rng(seed)
    masters = _masters()
    labels = np.tile(np.arange(len(LETTER_CLASSES), dtype=np.int64), per_class)
    images = np.empty((len(labels), size, size), np.uint8)
    for start in range(0, len(labels), _CHUNK):
        chunk = labels[start : start + _CHUNK]
        images[start : start + _CHUNK] = _render(chunk, masters, rng, size)
    return Dataset(
        name="builtin:letters",
        images=images,
        labels=labels,
        classes=LETTER_CLASSES,
        ids=content_ids(images),
    )


def _masters() -> list[list[Image.Image]]:
    """For each class, its upper- and lower-case glyphs in every stroke, white on black."""
    font = ImageFont.load_default(_FONT_SIZE)
    return [
        [_fit(drawn) for case in (letter, letter.lower()) for drawn in _strokes(case, font)]
        for letter in LETTER_CLASSES
    ]


def _strokes(letter: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[Image.Image]:
    outer, inner = (_draw(letter, font, width) for width in _HOLLOW)
    solid = [_draw(letter, font, width) for width in _STROKES]
    return [*solid, ImageChops.subtract(outer, inner)]


def _draw(
    letter: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, stroke: int
) -> Image.Image:
    image = Image.new("L", (3 * _FONT_SIZE, 3 * _FONT_SIZE), 0)
    at = (_FONT_SIZE, _FONT_SIZE)
    ImageDraw.Draw(image).text(at, letter, fill=255, font=font, stroke_width=stroke)
    return image


def _fit(image: Image.Image) -> Image.Image:
    # Every glyph fills the same box, so that size says nothing about the letter.
    glyph = image.crop(image.getbbox())
    scale = _MASTER_BOX / max(glyph.size)
    width, height = (max(1, round(side * scale)) for side in glyph.size)
    master = Image.new("L", (_MASTER, _MASTER), 0)
    small = glyph.resize((width, height), Image.Resampling.BICUBIC)
    master.paste(small, ((_MASTER - width) // 2, (_MASTER - height) // 2))
    return master


def _render(
    labels: NDArray[np.int64],
    masters: Sequence[Sequence[Image.Image]],
    rng: np.random.Generator,
    size: int,
) -> NDArray[np.uint8]:
    count = len(labels)
    which = rng.integers(len(masters[0]), size=count)
    pose = _poses(count, rng, size)
    ink = np.empty((count, size, size), np.float32)
    for i, label in enumerate(labels):
        ink[i] = np.asarray(_drawing(masters[label][which[i]], pose, i, size))
    return _shade(ink / np.float32(255), rng)


def _poses(count: int, rng: np.random.Generator, size: int) -> _Pose:
    """Control points of a 4 × 4 grid over the image: affine map, then a smooth wobble."""
    angle = np.deg2rad(rng.uniform(-15, 15, count))
    shear = rng.uniform(-0.35, 0.35, count)
    height = rng.uniform(0.55, 1.0, count)
    width = height * rng.uniform(0.6, 1.2, count)
    # The letter stays inside: what room its size leaves is what it may move by.
    room = np.maximum(0.04, (1 - np.stack([width, height], axis=1)) / 2)
    shift = rng.uniform(-1, 1, (count, 2)) * room
    steps = np.linspace(-0.5, 0.5, _CELLS + 1)
    grid = np.stack(np.meshgrid(steps, steps, indexing="xy"), axis=-1)
    points = grid[None] - shift[:, None, None, :]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    x = cos * points[..., 0] + sin * points[..., 1]
    y = cos * points[..., 1] - sin * points[..., 0]
    x = x + shear[:, None, None] * y
    points = np.stack([x / width[:, None, None], y / height[:, None, None]], axis=-1)
    wobble = rng.uniform(0, 0.07, (count, 1, 1, 1))
    points = points * _MASTER_BOX + rng.normal(size=points.shape) * wobble * _MASTER_BOX
    coarse = rng.integers(8, max(9, size // 2), count)
    return _Pose(
        points=points + _MASTER / 2,
        resolution=np.where(rng.random(count) < 0.5, coarse, size),
        blur=np.where(rng.random(count) < 0.3, rng.uniform(0.3, 1.0, count) * size / 28, 0.0),
        filters=rng.integers(2, size=count),
    )


def _drawing(master: Image.Image, pose: _Pose, i: int, size: int) -> Image.Image:
    # Drawn at twice the size and reduced: Image.transform does not smooth by itself.
    large = 2 * size
    edges = [round(k * large / _CELLS) for k in range(_CELLS + 1)]
    points = pose.points[i].tolist()
    mesh = [
        (
            (edges[column], edges[row], edges[column + 1], edges[row + 1]),
            (
                *points[row][column],
                *points[row + 1][column],
                *points[row + 1][column + 1],
                *points[row][column + 1],
            ),
        )
        for row in range(_CELLS)
        for column in range(_CELLS)
    ]
    image = master.transform(
        (large, large), Image.Transform.MESH, mesh, resample=Image.Resampling.BILINEAR
    )
    resolution = int(pose.resolution[i])
    image = image.resize((resolution, resolution), Image.Resampling.BOX)
    if resolution != size:
        smooth = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)[pose.filters[i]]
        image = image.resize((size, size), smooth)
    blur = float(pose.blur[i])
    return image.filter(ImageFilter.GaussianBlur(blur)) if blur else image


def _shade(ink: _Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Brightness, shading, polarity and noise, for ink in 0..1."""
    count, size = len(ink), ink.shape[1]

    def draw(low: float, high: float) -> _Floats:
        return rng.uniform(low, high, (count, 1, 1)).astype(np.float32)

    kind = rng.random((count, 1, 1))
    # Half on pure black, a quarter on any dark ground, a quarter dark on light.
    ground = np.where(kind < 0.5, np.float32(0), draw(0.0, 0.4))
    letter = np.minimum(ground + draw(0.45, 1.1), np.float32(1))
    paint = letter * (1 - draw(0.0, 0.5) * _clouds(count, size, rng))
    picture = ground + ink * (paint - ground)
    picture = picture + np.where(kind < 0.5, 0, draw(0.0, 0.15)) * _clouds(count, size, rng)
    picture = np.where(kind < 0.75, picture, 1 - picture)
    noise = rng.standard_normal(ink.shape, dtype=np.float32)
    picture = picture + noise * np.where(rng.random((count, 1, 1)) < 0.5, draw(0.0, 0.08), 0)
    pixels: NDArray[np.uint8] = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return pixels


def _clouds(count: int, size: int, rng: np.random.Generator) -> _Floats:
    """Smooth random fields in 0..1, by stretching 4 × 4 random values."""
    coarse = rng.random((count, 4, 4), dtype=np.float32)
    at = np.linspace(0, 3, size, dtype=np.float32)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(4, dtype=np.float32)))
    fields: _Floats = weights @ coarse @ weights.T
    return fields
