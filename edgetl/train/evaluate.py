"""How good raw logits are on the val split, and how to get them batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgetl import metrics

_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class ValMetrics:
    """Top-1 (0..1), NLL (nats), ECE of 15 equal-width bins, mean softmax entropy (nats)."""

    top1: float
    nll: float
    ece: float
    entropy: float


def val_metrics(raw_logits: NDArray[np.float32], labels: NDArray[np.int64]) -> ValMetrics:
    """The figures of one epoch, before any temperature.

    Args:
        raw_logits: [n, K], finite.
        labels: [n].

    Raises:
        DataError: When the logits are not finite or the labels do not fit them.

    Example:
        >>> val_metrics(np.zeros((2, 4), np.float32), np.array([0, 3])).top1
        0.5
    """
    probabilities = metrics.softmax(raw_logits)
    return ValMetrics(
        top1=metrics.top1(probabilities, labels),
        nll=metrics.nll(probabilities, labels),
        ece=metrics.ece(probabilities, labels),
        entropy=float(metrics.entropy(probabilities).mean()),
    )


def in_batches(answer: Callable[[Tensor], Tensor], inputs: Tensor, device: torch.device) -> Tensor:
    """Apply a function batch by batch under inference mode; the results together, on the CPU.

    A device whose memory does not suffice for a batch gets smaller ones.

    Example:
        >>> in_batches(lambda x: x * 2, torch.ones(3, 1), torch.device("cpu")).shape
        torch.Size([3, 1])
    """
    size = _BATCH
    while True:
        try:
            with torch.inference_mode():
                parts = [answer(x.to(device)).float().cpu() for x in torch.split(inputs, size)]
            # Joined outside the mode: an inference tensor cannot take part in training.
            return torch.cat(parts)
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
