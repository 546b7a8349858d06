"""torchvision's transforms draw from torch's global generator: here they draw from a given one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_SEEDS = 1 << 63


@contextmanager
def drawing_from(generator: np.random.Generator) -> Iterator[None]:
    """Inside the block torch's global generator on the CPU is seeded from a generator.

    Afterwards it is what it was, so that dropout draws as it would have without the block.

    Example:
        >>> def draw(seed):
        ...     with drawing_from(np.random.default_rng(seed)):
        ...         return torch.rand(1)
        >>> bool(draw(0) == draw(0)), bool(draw(0) == draw(1))
        (True, False)
    """
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would seed every GPU too.
        torch.default_generator.manual_seed(int(generator.integers(_SEEDS)))
        yield
