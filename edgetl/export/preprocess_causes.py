"""Which wrong line of an input's description explains that the pixels differ."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from edgetl.data.preprocess import fit_image
from edgetl.errors import EdgetlError
from edgetl.spec import IMAGENET_MEAN, IMAGENET_STD, Array, ImageInput, Interpolation

Change = Mapping[str, Any]
"""Attributes of an `ImageInput` -> what they would be."""

# Resampling in floats, or on tensors of bytes, rounds otherwise than Pillow does.
_NEAR = 2.0

_CROPS = (1.0, 0.965, 0.96, 0.95, 0.94, 0.9, 0.875, 0.85, 0.8)
_MORE_PIXELS = (8, 32)
_GREYS = (0, 114, 127, 128, 255)
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_COLOURS = (((0.5,) * 3, (0.5,) * 3), (IMAGENET_MEAN, IMAGENET_STD), (_CLIP_MEAN, _CLIP_STD))
_MNIST = ((0.1307,), (0.3081,))


def normalised(image: Array, spec: ImageInput) -> NDArray[np.float32]:
    """What the network is given for one image, computed as the graph does.

    Args:
        image: uint8 [h, w] or [h, w, 3].
        spec: The input.

    Returns:
        float32 [channels, height, width], in the network's order of channels.

    Example:
        >>> white = np.full((4, 4), 255, np.uint8)
        >>> spec = ImageInput(height=2, width=2, mean=(0.5,) * 3, std=(0.5,) * 3)
        >>> normalised(white, spec).shape, float(normalised(white, spec).max())
        ((3, 2, 2), 1.0)
    """
    return _coloured(_pixels(image, spec), spec)


def pixel_scale(spec: ImageInput) -> NDArray[np.float64]:
    """Turns a difference of normalised values into units of 0 to 255, float64 [channels, 1, 1]."""
    return np.asarray(spec.std)[:, None, None] * (255 if spec.pixel_range == "0-1" else 1)


def likely_cause(
    pictures: Sequence[tuple[Array, NDArray[np.float32]]], spec: ImageInput, difference: float
) -> str | None:
    """The fewest changes to the input under which every picture's pixels nearly agree.

    Filters, ways of resizing, orders of channels and usual normalisations are tried, alone
    before together.

    Args:
        pictures: Images, uint8, each with what the network's own transform makes of it, float32
            [channels, height, width].
        spec: The input, under which they differ.
        difference: Of the worst pixel, in units of 0 to 255.

    Returns:
        The changes as they are written in a config, or None when none explains the difference:
        at most 2 of 255 may be left, and a quarter of what there was.

    Example:
        >>> image = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
        >>> spec = ImageInput(height=8, width=8)
        >>> theirs = normalised(image, replace(spec, channels="bgr"))
        >>> likely_cause([(image, theirs)], spec, 2.0)
        "channels = 'bgr'"
    """
    limit = min(_NEAR, difference / 4)
    fit = _Fitted([image for image, _ in pictures])
    groups = (_filters(spec), _ways(spec), _orders(spec), _normalisations(spec))
    for count in range(1, len(groups) + 1):
        best, least = None, limit
        for changed in _changed(spec, groups, count):
            left = _left(pictures, fit, changed, least)
            if left <= least:
                best, least = changed, left
                if left == 0:
                    break
        if best is not None:
            return _written(best, spec)
    return None


def _changed(
    spec: ImageInput, groups: Sequence[Sequence[Change]], count: int
) -> Iterator[ImageInput]:
    for some in itertools.combinations(groups, count):
        for changes in itertools.product(*some):
            yield replace(spec, **{key: one[key] for one in changes for key in one})


class _Fitted:
    """The pictures under each way and filter, resized once; None where that cannot be."""

    def __init__(self, images: Sequence[Array]) -> None:
        self._images = images
        self._known: dict[tuple[Any, ...], NDArray[np.uint8] | None] = {}

    def __call__(self, at: int, spec: ImageInput) -> NDArray[np.uint8] | None:
        key = (at, *(getattr(spec, name) for name in (*_WAYS, "interpolation", "antialias")))
        if key not in self._known:
            try:
                self._known[key] = _pixels(self._images[at], spec)
            except EdgetlError:
                self._known[key] = None
        return self._known[key]


def _left(
    pictures: Sequence[tuple[Array, NDArray[np.float32]]],
    fit: _Fitted,
    spec: ImageInput,
    enough: float,
) -> float:
    """The worst difference of the pictures, or some difference above `enough`."""
    worst = 0.0
    for at, (_, theirs) in enumerate(pictures):
        pixels = fit(at, spec)
        if pixels is None:
            return math.inf
        # A few rows rule out nearly every guess.
        for rows in (slice(None, None, 16), slice(None)):
            ours = _coloured(pixels[rows], spec)
            apart = (np.abs(ours - theirs[:, rows]) * pixel_scale(spec)).max()
            if not (apart <= enough):
                return float(apart)
        worst = max(worst, float(apart))
    return worst


def _pixels(image: Array, spec: ImageInput) -> NDArray[np.uint8]:
    fitted = fit_image(image, spec)
    if fitted.ndim == 2:
        fitted = np.repeat(fitted[..., None], spec.channel_count, axis=2)
    return fitted


def _coloured(pixels: NDArray[np.uint8], spec: ImageInput) -> NDArray[np.float32]:
    planes = pixels[..., ::-1] if spec.channels == "bgr" else pixels
    scaled = planes.astype(np.float32).transpose(2, 0, 1)
    if spec.pixel_range == "0-1":
        scaled = scaled / np.float32(255)
    mean, std = (np.asarray(one, np.float32)[:, None, None] for one in (spec.mean, spec.std))
    normal: NDArray[np.float32] = (scaled - mean) / std
    return normal


_WAYS = ("resize_shorter", "resize_to", "letterbox")


def _filters(spec: ImageInput) -> list[Change]:
    pairs = [(kind, True) for kind in get_args(Interpolation)]
    pairs += [(kind, False) for kind in get_args(Interpolation) if kind != "lanczos"]
    now = (spec.interpolation, spec.antialias)
    return [{"interpolation": kind, "antialias": aa} for kind, aa in pairs if (kind, aa) != now]


def _ways(spec: ImageInput) -> list[Change]:
    sizes = (spec.height, spec.width)
    to = [tuple(math.floor(size / crop) for size in sizes) for crop in _CROPS]
    shorter = {min(size) for size in to} | {min(sizes) + more for more in _MORE_PIXELS}
    none = dict.fromkeys(_WAYS)
    ways: list[dict[str, Any]] = [none | {"resize_to": size} for size in to]
    ways += [none | {"resize_shorter": size} for size in sorted(shorter)]
    ways += [none | {"letterbox": grey} for grey in _GREYS]
    now = {key: getattr(spec, key) for key in _WAYS}
    if now == none:
        now["resize_to"] = sizes
    return [way for way in ways if way != now]


def _orders(spec: ImageInput) -> list[Change]:
    return [{"channels": order} for order in ("rgb", "bgr") if "grey" != spec.channels != order]


def _normalisations(spec: ImageInput) -> list[Change]:
    count = spec.channel_count
    other = "0-255" if spec.pixel_range == "0-1" else "0-1"
    changes: list[Change] = [{"pixel_range": other}]
    if count == 3:
        changes.append({"mean": spec.mean[::-1], "std": spec.std[::-1]})
    none = ((0.0,) * count, (1.0,) * count)
    known = [none, *(_COLOURS if count == 3 else (((0.5,), (0.5,)), _MNIST))]
    for mean, std in known:
        changes.append({"pixel_range": "0-1", "mean": mean, "std": std})
    changes.append({"pixel_range": "0-255", "mean": none[0], "std": none[1]})
    return [one for one in changes if any(getattr(spec, key) != one[key] for key in one)]


def _written(changed: ImageInput, spec: ImageInput) -> str:
    keys = [
        one.name for one in fields(spec) if getattr(spec, one.name) != getattr(changed, one.name)
    ]
    said = [f"{key} = {_toml(getattr(changed, key))}" for key in keys if _is_set(changed, key)]
    gone = [key for key in keys if not _is_set(changed, key)]
    return " and ".join(said) + (f" instead of {gone[0]}" if gone else "")


def _is_set(spec: ImageInput, key: str) -> bool:
    return getattr(spec, key) is not None


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else repr(value)
