"""Every architecture builds, answers raw logits, and says where its head is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgetl.errors import ConfigError
from edgetl.reference.architectures import ARCHITECTURES
from edgetl.reference.ending import outputs_of
from edgetl.reference.network import (
    Preprocess,
    Reference,
    build_network,
    head_layer,
)
from edgetl.spec import ClassifierInput, ImageInput, TensorInput

IMAGE = ImageInput(height=32, width=32)


def _input(architecture: str) -> ClassifierInput:
    return TensorInput(shape=(4, 2)) if architecture == "mlp" else IMAGE


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_head_is_the_last_layer_and_gives_the_raw_logits(architecture: str) -> None:
    spec = _input(architecture)
    # regnet computes its widths while it is built.
    place = "cpu" if architecture.startswith("regnet") else "meta"
    with torch.device(place):
        network = build_network(architecture, 7, spec).eval()
    name = head_layer(network, architecture)
    seen: list[torch.Tensor] = []
    head = network.get_submodule(name)
    head.register_forward_hook(lambda module, args, output: seen.append(output))
    shape = spec.shape if isinstance(spec, TensorInput) else (3, 32, 32)
    with torch.no_grad():
        answer = network(torch.zeros(2, *shape, device=place))
    assert outputs_of(head) == 7 and answer.shape == (2, 7)
    # In SqueezeNet a ReLU and a pooling layer come after it.
    assert (answer is seen[-1]) == (architecture != "squeezenet1_1")


def test_preprocess_is_scale_then_normalise_by_channel() -> None:
    torch.manual_seed(0)
    x = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8)
    spec = ImageInput(height=4, width=5, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    got = Preprocess(spec)(x)
    assert got.shape == (2, 3, 4, 5) and got.dtype == torch.float32
    for channel in range(3):
        want = (x[..., channel].double() / 255 - spec.mean[channel]) / spec.std[channel]
        torch.testing.assert_close(got[:, channel].double(), want, atol=1e-6, rtol=1e-6)


def test_preprocess_adds_nothing_to_a_checkpoint() -> None:
    assert not Preprocess(IMAGE).state_dict()


def test_reference_divides_by_the_temperature() -> None:
    torch.manual_seed(0)
    spec = TensorInput(shape=(4,))
    network = build_network("mlp", 3, spec).eval()
    x = torch.randn(5, 4)
    probabilities, raw = Reference(network, spec, temperature=0.25)(x)
    assert torch.equal(raw, network(x))
    torch.testing.assert_close(probabilities, torch.softmax(raw * 4, 1))
    assert probabilities.argmax(1).unique().numel() > 1 or probabilities.std(0).max() > 1e-3


@pytest.mark.parametrize(
    ("architecture", "classes", "spec"),
    [
        ("resnet19", 10, IMAGE),
        ("resnet18", 1, IMAGE),
        ("resnet18", 10, TensorInput(shape=(64,))),
        ("mlp", 10, IMAGE),
        ("vit_b_16", 10, ImageInput(height=40, width=40)),
        ("vit_b_16", 10, ImageInput(height=32, width=64)),
    ],
)
def test_requests_that_make_no_network_are_refused(
    architecture: str, classes: int, spec: ClassifierInput
) -> None:
    with pytest.raises(ConfigError):
        build_network(architecture, classes, spec)


def test_head_layer_refuses_another_network() -> None:
    with pytest.raises(ConfigError, match="no linear layer 'fc'"):
        head_layer(build_network("mlp", 3, TensorInput(shape=(4,))), "resnet18")
    with pytest.raises(ConfigError, match="resnet18"):
        head_layer(nn.Linear(2, 2), "unknown")
