"""Small changes of training images that leave the class what it is."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from edgetl.train.config import Augment

_SHIFT_PART = 12


def augment_images(images: Tensor, augment: Augment, generator: np.random.Generator) -> Tensor:
    """A changed copy of a batch.

    Args:
        images: uint8 [n, height, width, 3].
        augment: ``"light"`` shifts each image by up to a twelfth of each side, repeating its
            edge pixels; ``"light-flip"`` also mirrors each with probability one half.
        generator: Where the randomness comes from; the same state gives the same batch.

    Returns:
        uint8 [n, height, width, 3]; the batch itself for ``"none"``.

    Example:
        >>> x = torch.zeros(2, 24, 24, 3, dtype=torch.uint8)
        >>> augment_images(x, "light", np.random.default_rng(0)).shape
        torch.Size([2, 24, 24, 3])
    """
    if augment == "none":
        return images
    n, height, width, _ = images.shape
    rows = _shifted(n, height, generator)
    columns = _shifted(n, width, generator)
    if augment == "light-flip":
        flip = torch.from_numpy(generator.random(n) < 0.5)
        columns = torch.where(flip[:, None], columns.flip(1), columns)
    picture = torch.arange(n)[:, None, None]
    return images[picture, rows[:, :, None], columns[:, None, :]]


def _shifted(n: int, size: int, generator: np.random.Generator) -> Tensor:
    """Per image, which source line each line takes: int64 [n, size]."""
    reach = max(1, size // _SHIFT_PART)
    offset = torch.from_numpy(generator.integers(-reach, reach, size=n, endpoint=True))
    return (torch.arange(size)[None, :] + offset[:, None]).clamp(0, size - 1)
