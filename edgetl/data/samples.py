"""What a dataset's inputs are kept as: pixels, tensors, encoded pictures, or several of them.

All three answer `len`, are read one by one by iteration, and give a part of themselves for a
slice or an index array, so that no stage needs to know which one it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from edgetl.data.decode import decode_image
from edgetl.errors import DataError
from edgetl.spec import Array

Indices = slice | NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Pictures of any size as the bytes of their files, decoded when they are read.

    Attributes:
        encoded: A JPEG, PNG, WEBP or BMP each; every one has been decoded once without error.

    Example:
        >>> from edgetl.data.decode import encode_png
        >>> pictures = EncodedImages((encode_png(np.zeros((2, 3), np.uint8)),) * 4)
        >>> len(pictures), pictures[1].shape, len(pictures[1:3])
        (4, (2, 3, 3), 2)
    """

    encoded: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.encoded)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (decode_image(data) for data in self.encoded)

    @overload
    def __getitem__(self, at: int) -> NDArray[np.uint8]: ...

    @overload
    def __getitem__(self, at: Indices) -> EncodedImages: ...

    def __getitem__(self, at: int | Indices) -> NDArray[np.uint8] | EncodedImages:
        if isinstance(at, slice):
            return EncodedImages(self.encoded[at])
        if isinstance(at, np.ndarray):
            return EncodedImages(tuple(self.encoded[int(one)] for one in at))
        return decode_image(self.encoded[at])


@dataclass(frozen=True, eq=False)
class SeveralSamples:
    """The samples of a classifier that takes several tensors.

    Attributes:
        parts: Each tensor's name -> its samples; all are as many.

    Raises:
        DataError: When the parts differ in number, or there are none.

    Example:
        >>> both = SeveralSamples({"a": np.zeros((4, 2)), "b": np.ones((4, 3))})
        >>> len(both), both[1]["b"].tolist(), len(both[:3])
        (4, [1.0, 1.0, 1.0], 3)
    """

    parts: Mapping[str, Array | EncodedImages]

    def __post_init__(self) -> None:
        counts = {name: len(part) for name, part in self.parts.items()}
        if len(set(counts.values())) != 1:
            raise DataError(
                "samples of several inputs",
                got=", ".join(f"{count} of {name}" for name, count in counts.items()) or "none",
                expected="as many of each",
                fix="give one row of each input for every sample",
            )

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def __iter__(self) -> Iterator[dict[str, Array]]:
        return (self[at] for at in range(len(self)))

    @overload
    def __getitem__(self, at: int) -> dict[str, Array]: ...

    @overload
    def __getitem__(self, at: Indices) -> SeveralSamples: ...

    def __getitem__(self, at: int | Indices) -> dict[str, Array] | SeveralSamples:
        if isinstance(at, slice | np.ndarray):
            return SeveralSamples({name: part[at] for name, part in self.parts.items()})
        return {name: np.asarray(part[at]) for name, part in self.parts.items()}


Samples = Array | EncodedImages | SeveralSamples
"""uint8 [n, height, width(, 3)], float32 [n, *shape], encoded pictures, or several of these."""
