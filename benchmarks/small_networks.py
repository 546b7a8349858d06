"""Networks small enough to be trained a thousand times: a residual one and a transformer.

As users bring their own: functions of the number of classes, named ``python:small_networks:…`` in
a config whose folder of code is this one.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

SIDE = 32
"""Both take images of 32 × 32 pixels."""

_WIDTHS = (16, 32, 64)
_PATCH, _WIDTH, _DEPTH, _HEADS = 8, 64, 3, 4


class Block(nn.Module):
    """Two 3 × 3 convolutions beside a 1 × 1 one; halves the sides (He et al., arXiv:1512.03385)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [n, inputs, h, w] to [n, outputs, h / 2, w / 2]."""
        y = torch.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return torch.relu(y + self.norm3(self.shortcut(x)))


class SmallResidual(nn.Module):
    """A stem and two residual blocks, 16 to 64 channels: 4 MFLOP and 70,000 weights.

    Example:
        >>> residual(10)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, _WIDTHS[0], 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(_WIDTHS[0]),
            nn.ReLU(),
        )
        self.block1 = Block(_WIDTHS[0], _WIDTHS[1])
        self.block2 = Block(_WIDTHS[1], _WIDTHS[2])
        self.fc = nn.Linear(_WIDTHS[2], classes)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [n, 3, 32, 32] to raw logits, float32 [n, classes]."""
        return cast(Tensor, self.fc(self.block2(self.block1(self.stem(x))).mean(dim=(2, 3))))


class Attention(nn.Module):
    """Self-attention whose projections are linear layers of their own, for LoRA to go beside."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(_WIDTH, 3 * _WIDTH)
        self.out = nn.Linear(_WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [n, tokens, width] to the same shape."""
        n, tokens, width = x.shape
        split = self.qkv(x).reshape(n, tokens, 3, _HEADS, width // _HEADS)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(q, k, v)
        return cast(Tensor, self.out(seen.transpose(1, 2).reshape(n, tokens, width)))


class Layer(nn.Module):
    """Attention, then two linear layers, each behind a layer norm and beside its input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)
        self.attention = Attention()
        self.wide, self.narrow = nn.Linear(_WIDTH, 2 * _WIDTH), nn.Linear(2 * _WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [n, tokens, width] to the same shape."""
        x = x + self.attention(self.norm1(x))
        return cast(Tensor, x + self.narrow(nn.functional.gelu(self.wide(self.norm2(x)))))


class SmallVit(nn.Module):
    """A vision transformer (Dosovitskiy et al., arXiv:2010.11929) of 16 patches, 64 wide.

    Example:
        >>> vit(10)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, _WIDTH, _PATCH, stride=_PATCH)
        tokens = (SIDE // _PATCH) ** 2
        self.positions = nn.Parameter(0.02 * torch.randn(1, tokens, _WIDTH))
        self.layers = nn.Sequential(*(Layer() for _ in range(_DEPTH)))
        self.norm = nn.LayerNorm(_WIDTH)
        self.fc = nn.Linear(_WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [n, 3, 32, 32] to raw logits, float32 [n, classes]."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        return cast(Tensor, self.fc(self.norm(self.layers(tokens)).mean(dim=1)))


def residual(classes: int) -> nn.Module:
    """A `SmallResidual` with random weights."""
    return SmallResidual(classes)


def vit(classes: int) -> nn.Module:
    """A `SmallVit` with random weights."""
    return SmallVit(classes)
