"""A user's own network and the transform that it was trained with."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.transforms import v2


class SmallNet(nn.Module):
    """Three convolutions and a linear layer; its head is called `decide`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_block(3, 16), *_block(16, 32), *_block(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.decide = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32 [n, 3, 32, 32] to logits [n, classes]."""
        return self.decide(self.features(x))


def _block(before: int, after: int) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]


def make_network(classes: int) -> nn.Module:
    """What `architecture = "python:my_model:make_network"` names."""
    return SmallNet(classes)


transform = v2.Compose(
    [
        v2.Resize(36),
        v2.CenterCrop(32),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25]),
    ]
)
"""What `transform = "python:my_model:transform"` names: a PIL image to the network's input."""
