"""Prepared inputs that several candidates are asked: decoded and resized once, not once for each.

A photo takes longer to decode and resize than a small network takes to answer it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from edgetl.data.preprocess import to_inputs
from edgetl.data.store import SplitPart
from edgetl.spec import Array, ClassifierInput

BATCH = 32
_KEPT_BYTES = 1 << 30


class KeptInputs:
    """The batches of the splits that a stage predicts, kept while they fit into 1 GiB.

    Args:
        spec: The classifier's input.
        limit: The most bytes that are kept, over all parts.

    Example:
        >>> from edgetl.spec import TensorInput
        >>> rows = np.zeros((1, 2), np.float32)
        >>> part = SplitPart(ids=("a",), labels=np.zeros(1, np.int64), images=rows)
        >>> kept = KeptInputs(TensorInput(shape=(2,)))
        >>> (first,), (again,) = kept.batches(part), kept.batches(part)
        >>> first is again
        True
    """

    def __init__(self, spec: ClassifierInput, *, limit: int = _KEPT_BYTES) -> None:
        self._spec = spec
        self._left = limit
        # The part itself is held, so that its id is nobody else's.
        self._parts: dict[int, tuple[SplitPart, list[dict[str, Array]]]] = {}

    def batches(self, part: SplitPart) -> Iterator[dict[str, Array]]:
        """The part's inputs, at most 32 at a time: what a backend's `run` takes."""
        if id(part) in self._parts:
            yield from self._parts[id(part)][1]
            return
        made: list[dict[str, Array]] | None = [] if self._reserve(len(part)) else None
        for start in range(0, len(part), BATCH):
            batch = to_inputs(part.images[start : start + BATCH], self._spec)
            if made is not None:
                made.append(batch)
            yield batch
        if made is not None:
            self._parts[id(part)] = (part, made)

    def _reserve(self, count: int) -> bool:
        each = sum(
            math.prod(size for size in tensor.shape if size is not None)
            * np.dtype(tensor.dtype).itemsize
            for tensor in self._spec.tensors
        )
        if count * each > self._left:
            return False
        self._left -= count * each
        return True
