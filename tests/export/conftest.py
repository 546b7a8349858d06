"""Real images, and networks whose answers to them differ."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from edgetl.spec import ClassifierInput, ImageInput

Settled = Callable[..., nn.Module]


@pytest.fixture(scope="session")
def digits() -> Callable[[int], NDArray[np.uint8]]:
    """uint8 [48, size, size, 3]: real digits, enlarged."""

    def images(size: int) -> NDArray[np.uint8]:
        small = np.round(load_digits().images[:48] * (255 / 16)).astype(np.uint8)
        large = [Image.fromarray(image).resize((size, size)).convert("RGB") for image in small]
        return np.stack([np.asarray(image) for image in large])

    return images


@pytest.fixture(scope="session")
def float_input() -> Callable[[NDArray[np.uint8], ClassifierInput], torch.Tensor]:
    """What a network itself takes, written apart from the exporter."""

    def convert(x: NDArray[np.uint8], input: ClassifierInput) -> torch.Tensor:
        if not isinstance(input, ImageInput):
            return torch.from_numpy(x)
        scaled = (x.astype(np.float64) / 255 - input.mean) / input.std
        return torch.from_numpy(scaled.transpose(0, 3, 1, 2).astype(np.float32).copy())

    return convert


@pytest.fixture(scope="session")
def settled() -> Settled:
    """Settle a random network's batch statistics, and make its answers differ."""

    def settle(network: nn.Module, head: nn.Linear, x: torch.Tensor) -> nn.Module:
        torch.manual_seed(0)
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_running_stats()
                # The plain average, whatever momentum the architecture has.
                module.momentum = None
        network.train()
        with torch.no_grad():
            head.weight.normal_()
            for _ in range(4):
                network(x)
            network.eval()
            answers: list[torch.Tensor] = []
            hook = head.register_forward_hook(lambda _m, _i, output: answers.append(output))
            network(x)
            hook.remove()
            scale = 1.5 / answers[0].std(dim=0)
            head.weight *= scale[:, None]
            if head.bias is not None:
                head.bias.copy_(-scale * (answers[0] - head.bias).mean(dim=0))
        return network

    return settle
