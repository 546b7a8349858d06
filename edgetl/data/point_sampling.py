"""Resizing by interpolation between the nearest pixels only, without a filter over what shrinks.

The weights are those of ``torch.nn.functional.interpolate(align_corners=False, antialias=False)``
on float32: half-pixel centres, edges repeated, bicubic with a = -0.75 (Keys 1981, "Cubic
convolution interpolation for digital image processing", with the constant that OpenCV uses too).
OpenCV's INTER_LINEAR and INTER_CUBIC sample at the same points with the same taps, but in fixed
point with 11 bits a weight, so that a pixel may be 1 of 255 apart. ``nearest`` takes the pixel
whose square holds the sample's centre, as ``nearest-exact`` in PyTorch and INTER_NEAREST_EXACT in
OpenCV; their older ``nearest`` and INTER_NEAREST take the pixel at the sample's corner.

An image that becomes larger is resized as with Pillow's filters, up to 1 of 255, by ``bilinear``
only: Pillow's bicubic has a = -0.5 and leaves out the pixels beyond an edge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import SpecError
from edgetl.spec import Interpolation

_CUBIC = -0.75

_Taps = tuple[NDArray[np.intp], NDArray[np.float32]]


def point_sample(
    image: NDArray[np.uint8], height: int, width: int, interpolation: Interpolation
) -> NDArray[np.uint8]:
    """One image at another size, each new pixel made of the 1, 4 or 16 nearest old ones.

    Args:
        image: uint8 [h, w] or [h, w, channels].
        height, width: Pixels of the result.
        interpolation: ``"nearest"``, ``"bilinear"`` or ``"bicubic"``.

    Returns:
        uint8 [height, width] or [height, width, channels], rounded half to even and clipped.

    Raises:
        SpecError: For ``"lanczos"``, which is a filter and has no meaning at points.

    Example:
        >>> row = np.array([[0, 100, 200, 40]], np.uint8)
        >>> point_sample(row, 1, 2, "bilinear")
        array([[ 50, 120]], dtype=uint8)
    """
    if interpolation == "lanczos":
        raise SpecError(
            "image input, antialias",
            got="false with interpolation 'lanczos'",
            expected="nearest, bilinear or bicubic, which can sample at points",
            fix="set antialias = true, or the interpolation that the network was trained with",
        )
    rows, down = _taps(image.shape[0], height, interpolation)
    columns, across = _taps(image.shape[1], width, interpolation)
    if interpolation == "nearest":
        nearest: NDArray[np.uint8] = image[rows[0]][:, columns[0]]
        return nearest
    # Only the rows that some sample touches: of a large photo that is a small part.
    used, place = np.unique(rows, return_inverse=True)
    flat = image[used].reshape(len(used), image.shape[1], -1)
    wide = _weighted(flat, columns, across[:, None, :, None], axis=1)
    tall = _weighted(wide, place.reshape(rows.shape), down[:, :, None, None], axis=0)
    whole = np.clip(np.rint(tall, out=tall), 0, 255, out=tall).astype(np.uint8)
    return whole.reshape(height, width, *image.shape[2:])


def _weighted(
    pixels: NDArray[np.uint8] | NDArray[np.float32],
    taps: NDArray[np.intp],
    weights: NDArray[np.float32],
    *,
    axis: int,
) -> NDArray[np.float32]:
    total: NDArray[np.float32] = np.take(pixels, taps[0], axis=axis) * weights[0]
    for tap, weight in zip(taps[1:], weights[1:], strict=True):
        total += np.take(pixels, tap, axis=axis) * weight
    return total


def _taps(have: int, want: int, interpolation: Interpolation) -> _Taps:
    """For each of `want` samples, the pixels it is made of and their weights, [taps, want]."""
    # In float32 throughout, as torch computes them: a sample that falls between two pixels takes
    # the same one.
    scale = np.float32(have) / np.float32(want)
    centre = (np.arange(want, dtype=np.float32) + np.float32(0.5)) * scale
    if interpolation == "nearest":
        first = centre.astype(np.intp)
        weights = np.ones((1, want), np.float32)
    elif interpolation == "bilinear":
        at = np.maximum(centre - np.float32(0.5), 0)
        first = np.floor(at).astype(np.intp)
        past = at - first.astype(np.float32)
        weights = np.stack([1 - past, past])
    else:
        at = centre - np.float32(0.5)
        first = np.floor(at).astype(np.intp) - 1
        weights = _cubic_weights(at - np.floor(at))
    taps = first + np.arange(len(weights))[:, None]
    return np.clip(taps, 0, have - 1), weights


def _cubic_weights(past: NDArray[np.float32]) -> NDArray[np.float32]:
    def near(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1

    def far(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return ((_CUBIC * x - 5 * _CUBIC) * x + 8 * _CUBIC) * x - 4 * _CUBIC

    return np.stack([far(past + 1), near(past), near(1 - past), far(2 - past)])
