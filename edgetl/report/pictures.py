"""Pictures for the page: decoded, shrunk and encoded anew, with the occlusion maps laid over."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgetl.data.decode import decode_image
from edgetl.errors import DataError
from edgetl.extras import extra
from edgetl.report.blocks import Picture
from edgetl.report.content import REFERENCE, Flip
from edgetl.report.numbers import clean, percent

with extra("report"):
    from markupsafe import Markup

MAX_SIDE = 176
_COARSE = 64
"""Pictures up to this side are enlarged with their pixels kept square."""


def pictures_of(flip: Flip) -> tuple[Picture, ...]:
    """The input, then with the map of each side; empty without a picture that can be read.

    The two maps share one scale, so that a pale one means that no patch mattered.
    """
    if flip.picture is None:
        return ()
    try:
        pixels = _shrunk(decode_image(flip.picture))
    except DataError:
        return ()
    coarse = max(pixels.shape[:2]) <= _COARSE
    pictures = [
        Picture(
            uri=_uri(pixels),
            label="input",
            alt=f"Input {flip.index}, true class {clean(flip.label)}",
            coarse=coarse,
        )
    ]
    peak = _peak(flip)
    for side, answer, drops in (
        (REFERENCE, flip.reference_class, flip.reference_map),
        (flip.variant, flip.candidate_class, flip.variant_map),
    ):
        if drops is None or not _is_map(drops):
            continue
        pictures.append(
            Picture(
                uri=_uri(_overlaid(pixels, drops, peak)),
                label=clean(side, 20),
                alt=f"Where {clean(side)} looks when it answers {clean(answer)}; the most that a "
                f"hidden patch costs is {percent(max(0.0, float(drops.max())), 0)}",
                # The map's cells would show as blocks: the overlay is always smoothed.
                coarse=False,
            )
        )
    return tuple(pictures)


def thumbnail(data: bytes, alt: str) -> Markup | None:
    """A small picture for a table's cell; None when it cannot be read.

    Args:
        data: A PNG, JPEG, WEBP or BMP.
        alt: What a reader who does not see it should hear.
    """
    try:
        pixels = _shrunk(decode_image(data))
    except DataError:
        return None
    coarse = " coarse" * (max(pixels.shape[:2]) <= _COARSE)
    return Markup('<img class="thumbnail{}" src="{}" alt="{}">').format(coarse, _uri(pixels), alt)


def _is_map(drops: NDArray[np.float32]) -> bool:
    return drops.ndim == 2 and drops.size > 0 and bool(np.isfinite(drops).all())


def _peak(flip: Flip) -> float:
    maps = (flip.reference_map, flip.variant_map)
    peaks = [float(one.max()) for one in maps if one is not None and _is_map(one)]
    # Below a hundredth nothing is seen: noise would be drawn as if it mattered.
    return max([0.01, *peaks])


def _overlaid(
    pixels: NDArray[np.uint8], drops: NDArray[np.float32], peak: float
) -> NDArray[np.uint8]:
    """The picture in grey with the drops over it, from nothing to `peak`."""
    height, width = pixels.shape[:2]
    # A tiny picture is enlarged first: the map is finer than its pixels.
    scale = max(1, MAX_SIDE // max(height, width))
    size = (width * scale, height * scale)
    grey = Image.fromarray(pixels).convert("L").resize(size, Image.Resampling.NEAREST)
    strength = Image.fromarray(np.clip(drops / peak, 0, 1).astype(np.float32))
    share = np.asarray(strength.resize(size, Image.Resampling.BICUBIC)).clip(0, 1)[..., None]
    base = 0.72 * np.asarray(grey, np.float64)[..., None] + 36
    mixed = base * (1 - 0.82 * share) + 0.82 * share * _heat(share[..., 0])
    rounded: NDArray[np.uint8] = mixed.round().clip(0, 255).astype(np.uint8)
    return rounded


def _heat(share: NDArray[np.float64]) -> NDArray[np.float64]:
    with extra("report"):
        from matplotlib import colormaps
    # Even in lightness, and told apart without red and green.
    rgb: NDArray[np.float64] = 255 * np.asarray(colormaps["inferno"](0.25 + 0.7 * share))[..., :3]
    return rgb


def _shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = Image.fromarray(pixels)
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _uri(pixels: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    picture = Image.fromarray(pixels)
    small = max(picture.size) <= _COARSE
    if small:
        picture.save(stream, "PNG", optimize=True)
    else:
        picture.save(stream, "JPEG", quality=82, optimize=True)
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
