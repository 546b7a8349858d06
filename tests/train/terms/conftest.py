"""A tiny network and a batch for it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture
def network() -> nn.Sequential:
    """A body with running statistics and weights of normalisation, and the head '3'."""
    torch.manual_seed(0)
    parts = (nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    return nn.Sequential(*parts).eval()


@pytest.fixture
def inputs() -> Tensor:
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
