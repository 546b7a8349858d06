"""A small convolutional network with shortcuts, trained on real digits in a few seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from edgetl.export.onnx_from_torch import onnx_from_torch
from edgetl.spec import Head, ImageInput, TensorInput


@dataclass(frozen=True, kw_only=True)
class Digits:
    """An exported classifier, ptq samples from its train images, and images it has not seen."""

    model: bytes
    ptq_samples: NDArray[np.uint8]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


class Shortcut(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.norm(self.conv(x)))


def small_network() -> nn.Sequential:
    def step(before: int, after: int) -> list[nn.Module]:
        conv = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        return [conv, nn.BatchNorm2d(after), nn.ReLU(), Shortcut(after)]

    return nn.Sequential(
        *step(3, 8),
        nn.MaxPool2d(2),
        *step(8, 24),
        *step(24, 48),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, 10),
    )


@pytest.fixture(scope="session")
def digits() -> Digits:
    images, labels = _enlarged()
    input = ImageInput(height=32, width=32)
    torch.manual_seed(0)
    network = small_network()
    scaled = (images / 255 - input.mean) / input.std
    x = torch.from_numpy(scaled.transpose(0, 3, 1, 2).astype(np.float32).copy())
    threads = torch.get_num_threads()
    # Layers this small lose time to more threads.
    torch.set_num_threads(1)
    _train(network, x[:400], torch.from_numpy(labels[:400]), epochs=12)
    torch.set_num_threads(threads)
    head = Head(layer=str(len(network) - 1), classes=tuple("0123456789"))
    return Digits(
        model=onnx_from_torch(network, input=input, head=head),
        ptq_samples=images[:200],
        images=images[400:],
        labels=labels[400:],
    )


@pytest.fixture(scope="session")
def tensor_model() -> bytes:
    """An untrained classifier of tensors: 6 features, 3 classes."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    head = Head(layer="2", classes=("a", "b", "c"))
    return onnx_from_torch(network, input=TensorInput(shape=(6,)), head=head)


def _enlarged() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    small = np.round(digits.images[order] * (255 / 16)).astype(np.uint8)
    large = [Image.fromarray(image).resize((32, 32)).convert("RGB") for image in small]
    return np.stack([np.asarray(image) for image in large]), digits.target[order].astype(np.int64)


def _train(network: nn.Module, x: torch.Tensor, y: torch.Tensor, *, epochs: int) -> None:
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, epochs * (len(x) // 50))
    network.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(50):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimiser.step()
            schedule.step()
    network.eval()
