"""A network for windows of three axes and 64 samples."""

from __future__ import annotations

from torch import nn


def make_network(classes: int) -> nn.Module:
    """float32 [n, 3, 64] to logits [n, classes]."""
    return nn.Sequential(
        nn.Conv1d(3, 32, 7, stride=2, padding=3),
        nn.ReLU(),
        nn.Conv1d(32, 48, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv1d(48, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )
