"""Samples as plain arrays and back, for one npz file a split.

| samples | arrays |
| --- | --- |
| pixels or tensors | ``images``, as it is |
| encoded pictures | ``encoded``, uint8: the files one after another; ``offsets``, int64 [n + 1] |
| several inputs | ``parts``, their names; for each ``NAME.images``, or the two above likewise |
| slices | ``slices``, their names; for each ``slice.NAME``, UTF-8 bytes [n] |
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgetl.data.samples import EncodedImages, Samples, SeveralSamples
from edgetl.spec import Array


def pack_samples(samples: Samples) -> dict[str, Array]:
    """The arrays that hold the samples.

    Example:
        >>> packed = pack_samples(EncodedImages((b"ab", b"c")))
        >>> bytes(packed["encoded"]), packed["offsets"].tolist()
        (b'abc', [0, 2, 3])
    """
    if not isinstance(samples, SeveralSamples):
        return _pack(samples)
    packed = {"parts": text_array(list(samples.parts))}
    for name, part in samples.parts.items():
        packed |= {f"{name}.{key}": array for key, array in _pack(part).items()}
    return packed


def _pack(samples: Array | EncodedImages) -> dict[str, Array]:
    if not isinstance(samples, EncodedImages):
        return {"images": np.ascontiguousarray(samples)}
    sizes = np.array([0, *(len(data) for data in samples.encoded)], np.int64)
    return {
        "encoded": np.frombuffer(b"".join(samples.encoded), np.uint8),
        "offsets": np.cumsum(sizes, dtype=np.int64),
    }


def unpack_samples(arrays: Mapping[str, Array]) -> Samples:
    """The inverse of `pack_samples`.

    Raises:
        ValueError: When the arrays are not such.
    """
    if "parts" not in arrays:
        return _unpack(arrays, "")
    names = texts_of(arrays["parts"])
    return SeveralSamples({name: _unpack(arrays, f"{name}.") for name in names})


def _unpack(arrays: Mapping[str, Array], prefix: str) -> Array | EncodedImages:
    if f"{prefix}images" in arrays:
        return arrays[f"{prefix}images"]
    try:
        data, offsets = arrays[f"{prefix}encoded"], arrays[f"{prefix}offsets"]
    except KeyError as error:
        raise ValueError(f"no array {error}") from error
    steps = np.diff(offsets) if offsets.ndim == 1 and offsets.dtype == np.int64 else None
    if data.dtype != np.uint8 or data.ndim != 1 or steps is None or not len(offsets):
        raise ValueError(f"{prefix}encoded or {prefix}offsets of another kind")
    if offsets[0] != 0 or offsets[-1] != len(data) or (steps < 1).any():
        raise ValueError(f"{prefix}offsets that do not fit {prefix}encoded")
    ends = offsets.tolist()
    view = data.tobytes()
    return EncodedImages(tuple(view[a:b] for a, b in pairwise(ends)))


def pack_slices(slices: Mapping[str, tuple[str, ...]] | None) -> dict[str, Array]:
    """The arrays that hold the slices; none for none."""
    if slices is None:
        return {}
    packed = {f"slice.{name}": text_array(values) for name, values in slices.items()}
    return {"slices": text_array(list(slices)), **packed}


def unpack_slices(arrays: Mapping[str, Array]) -> dict[str, tuple[str, ...]] | None:
    """The inverse of `pack_slices`.

    Raises:
        ValueError: When an array is missing or is no UTF-8 text.
    """
    if "slices" not in arrays:
        return None
    names = texts_of(arrays["slices"])
    missing = [name for name in names if f"slice.{name}" not in arrays]
    if missing:
        raise ValueError(f"no array slice.{missing[0]}")
    return {name: texts_of(arrays[f"slice.{name}"]) for name in names}


def text_array(texts: tuple[str, ...] | list[str]) -> NDArray[np.bytes_]:
    """Texts as fixed-width UTF-8 bytes [n]."""
    encoded = [text.encode() for text in texts]
    return np.array(encoded, dtype=f"S{max([1, *map(len, encoded)])}")


def texts_of(array: Array) -> tuple[str, ...]:
    """Texts of an array of UTF-8 bytes or of Unicode [n].

    Raises:
        ValueError: For another dtype or rank, or bytes that are not UTF-8.
    """
    if array.ndim != 1 or array.dtype.kind not in "SU":
        raise ValueError(f"{array.dtype} {array.shape} in place of a list of texts")
    held = array.tolist()
    return tuple(text.decode() if isinstance(text, bytes) else str(text) for text in held)
