"""Small checkpoints that answer different inputs differently."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgetl.reference.checkpoint import ClassifierDescription, save_classifier
from edgetl.reference.network import build_network, head_layer
from edgetl.spec import ClassifierInput, Head, ImageInput, TensorInput


def _save(folder: Path, architecture: str, spec: ClassifierInput, temperature: float) -> Path:
    torch.manual_seed(0)
    network = build_network(architecture, 3, spec)
    layer = head_layer(network, architecture)
    with torch.no_grad():
        for parameter in network.get_submodule(layer).parameters():
            parameter *= 5
    if isinstance(spec, ImageInput):
        with torch.no_grad():
            for _ in range(3):
                network(torch.randn(8, 3, spec.height, spec.width))
    head = Head(layer=layer, classes=("a", "b", "c"), temperature=temperature)
    save_classifier(
        folder, network, ClassifierDescription(architecture=architecture, input=spec, head=head)
    )
    return folder


@pytest.fixture(scope="session")
def mlp_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _save(tmp_path_factory.mktemp("mlp"), "mlp", TensorInput(shape=(6,)), 2.0)


@pytest.fixture(scope="session")
def resnet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = ImageInput(height=32, width=32)
    return _save(tmp_path_factory.mktemp("resnet"), "resnet18", spec, 1.5)
