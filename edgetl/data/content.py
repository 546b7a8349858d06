"""What a sample is known by: the hash of its pixels or numbers, whatever file they came in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np

from edgetl.data.samples import EncodedImages, Samples, SeveralSamples
from edgetl.errors import DataError
from edgetl.spec import Array


def content_id(image: Array) -> str:
    """SHA-256 of an array's dtype, shape and values (row by row), as 64 hexadecimal digits.

    Example:
        >>> content_id(np.zeros((2, 3), np.uint8)) == content_id(np.zeros((3, 2), np.uint8))
        False
    """
    shape = "x".join(str(size) for size in image.shape)
    digest = hashlib.sha256(f"{image.dtype.str} {shape}\n".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def content_ids(images: Iterable[Array]) -> tuple[str, ...]:
    """The `content_id` of each image along the first axis."""
    return tuple(content_id(image) for image in images)


def joined_id(ids: Mapping[str, str]) -> str:
    """One id for a sample of several inputs.

    Args:
        ids: Each input's name -> the id of its part; their order does not matter.

    Example:
        >>> joined_id({"left": "a", "right": "b"}) == joined_id({"left": "b", "right": "a"})
        False
    """
    lines = "".join(f"{name} {ids[name]}\n" for name in sorted(ids))
    return hashlib.sha256(lines.encode()).hexdigest()


def sample_ids(samples: Samples) -> tuple[str, ...]:
    """The id of each sample.

    Of an array it is its `content_id`; of an encoded picture that of its decoded pixels, uint8
    [height, width, 3], so that a PNG and a BMP of the same picture are the same; of several
    inputs the `joined_id` of their ids.

    Raises:
        DataError: When a picture cannot be decoded.
    """
    if isinstance(samples, SeveralSamples):
        parts = {name: sample_ids(part) for name, part in samples.parts.items()}
        return _joined(parts, len(samples))
    return content_ids(samples)


def stored_ids(samples: Samples) -> tuple[str, ...]:
    """As `sample_ids`, but of an encoded picture the SHA-256 of its file: nothing is decoded."""
    if isinstance(samples, SeveralSamples):
        parts = {name: stored_ids(part) for name, part in samples.parts.items()}
        return _joined(parts, len(samples))
    if isinstance(samples, EncodedImages):
        return tuple(hashlib.sha256(data).hexdigest() for data in samples.encoded)
    return content_ids(samples)


def _joined(parts: Mapping[str, tuple[str, ...]], count: int) -> tuple[str, ...]:
    return tuple(joined_id({name: ids[at] for name, ids in parts.items()}) for at in range(count))


def check_samples(samples: Samples, name: str) -> None:
    """Refuse anything but the kinds of `Samples`.

    Raises:
        DataError: For another dtype or rank, a sample without values, NaN or infinity, an empty
            file, or an input's name that is no identifier.
    """
    if isinstance(samples, EncodedImages):
        if not all(samples.encoded):
            raise _unfit(name, "a picture of 0 bytes", "encoded pictures", "leave it out")
    elif isinstance(samples, SeveralSamples):
        for part, values in samples.parts.items():
            if not part.isidentifier():
                raise _unfit(name, f"an input called {part!r}", "a plain name", "rename it")
            check_samples(values, f"{name}, input {part}")
    else:
        _check_array(samples, name)


def _check_array(array: Array, name: str) -> None:
    pixels = array.dtype == np.uint8 and (
        array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)
    )
    tensors = array.dtype == np.dtype("<f4") and array.ndim >= 2
    if not (pixels or tensors) or 0 in array.shape[1:]:
        raise _unfit(
            name,
            f"{array.dtype} {array.shape}",
            "uint8 [n, height, width] or [n, height, width, 3], or float32 [n, ...]",
            "give grey or RGB images of one size, channels last, or tensors as float32",
        )
    if tensors and not np.isfinite(array).all():
        at = int(np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0])
        raise _unfit(
            name, f"NaN or infinity in sample {at}", "finite numbers", "mend it or leave it out"
        )


def _unfit(name: str, got: str, expected: str, fix: str) -> DataError:
    return DataError(f"samples of {name}", got=got, expected=expected, fix=fix)
