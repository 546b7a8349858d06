"""Batches of labelled data of other tasks, beside the target's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgetl.errors import DataError
from edgetl.spec import SingleInput
from edgetl.train.feed import Batches, SourceData

# Apart from the keys that the target's own order and changes are drawn with.
_STREAM = 1_000_003


@dataclass(frozen=True, kw_only=True)
class SourceFeed:
    """A source in memory.

    Attributes:
        batches: Its samples.
        classes: How many classes it has.
        size: Samples a step, over all processes.
        stream: Its position among the sources, which its order depends on.
    """

    batches: Batches
    classes: int
    size: int
    stream: int

    def steps(
        self, *, seed: int, epoch: int, rank: int, processes: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """An epoch's batches of this process, without end: inputs and labels, on the CPU.

        The source is shuffled, and shuffled anew each time it has been gone through; the order is
        a function of seed and epoch. Every process gets as many of a step's samples.
        """
        generator = np.random.default_rng([seed, epoch, _STREAM, self.stream])
        share = max(1, self.size // processes)
        order = _cycling(len(self.batches.labels), share * processes, generator)
        for step in order:
            mine = torch.from_numpy(step[rank * share : (rank + 1) * share])
            yield self.batches.inputs[mine], self.batches.labels[mine]


def source_feeds(
    sources: Sequence[SourceData], input: SingleInput, *, batch_size: int
) -> tuple[SourceFeed, ...]:
    """The sources in the classifier's input.

    Args:
        sources: What `edgetl.train.loop.finetune` was given.
        input: What the classifier takes.
        batch_size: Samples a step of a source that does not say.

    Raises:
        DataError: For an empty source, or labels that are none of its classes; and when its
            samples do not fit the input.
    """
    return tuple(
        SourceFeed(
            batches=_checked(source, input, position),
            classes=len(source.classes),
            size=source.batch_size or batch_size,
            stream=position,
        )
        for position, source in enumerate(sources)
    )


def _checked(source: SourceData, input: SingleInput, position: int) -> Batches:
    labels, count = source.part.labels, len(source.classes)
    if not len(labels) or labels.min() < 0 or labels.max() >= count:
        got = f"labels from {labels.min()} to {labels.max()}" if len(labels) else "no samples"
        raise DataError(
            f"source {position + 1}",
            got=got,
            expected=f"samples with labels 0 to {count - 1}, for its {count} classes",
            fix="name every class of the source, in the order of its labels",
        )
    return Batches.of(source.part, input)


def _cycling(count: int, size: int, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    left = generator.permutation(count)
    while True:
        while len(left) < size:
            left = np.concatenate([left, generator.permutation(count)])
        yield left[:size]
        left = left[size:]
