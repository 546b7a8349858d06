"""What training minimises."""

from __future__ import annotations

import torch
from torch import Tensor


def cross_entropy(raw_logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy in nats against smoothed one-hot targets, computed in float32.

    With smoothing s and K classes the target is 1 - s + s/K for the label and s/K elsewhere
    (Szegedy et al. 2016, arXiv:1512.00567, section 7).

    Args:
        raw_logits: [n, K], any float dtype.
        labels: int64 [n].
        label_smoothing: 0 up to, not including, 1.

    Returns:
        A scalar, float32.

    Example:
        >>> loss = cross_entropy(torch.zeros(3, 4), torch.tensor([0, 1, 3]))
        >>> round(float(loss), 4)  # the logarithm of 4
        1.3863
    """
    # Under bf16 autocast the logits come with 8 bits of mantissa: the sums must not.
    return torch.nn.functional.cross_entropy(
        raw_logits.float(), labels, label_smoothing=label_smoothing
    )
