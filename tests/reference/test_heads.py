"""Heads of any name are found; what cannot be told is asked, with the candidates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from edgetl.errors import ConfigError, ModelError
from edgetl.reference.ending import OUTPUT, find_answer
from edgetl.reference.heads import find_head_layer, head_layer
from edgetl.reference.network import build_network
from edgetl.spec import Head, ImageInput, TensorInput

INPUT = TensorInput(shape=(4,))
IMAGE = ImageInput(height=32, width=32)
CLASSES = ("a", "b", "c")


class Net(nn.Module):
    """Layers by name, and a forward of one's own."""

    def __init__(self, run: Any, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.run = run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(self, x)


def linear(inputs: int = 4, outputs: int = 3, *, bias: bool = True) -> nn.Linear:
    torch.manual_seed(inputs + outputs)
    return nn.Linear(inputs, outputs, bias=bias)


def tied() -> nn.Module:
    net = Net(lambda s, x: s.last(s.first(x).relu()), first=linear(4, 4), last=linear(4, 4))
    net.last.weight = net.first.weight
    return net


@pytest.mark.parametrize(
    ("network", "want"),
    [
        (Net(lambda s, x: s.odd_name(x), odd_name=linear()), "odd_name"),
        (Net(lambda s, x: s.a(x).softmax(-1), a=linear()), "a"),
        # As many hidden units as classes: the last one gives the answer itself.
        (Net(lambda s, x: s.b(s.a(x).relu()), a=linear(), b=linear(3, 3)), "b"),
        (Net(lambda s, x: s.a(x) + s.a(x.flip(1)), a=linear()), "a"),
        (Net(lambda s, x: s.a(x) * 14.3, a=linear()), "a"),
        (nn.DataParallel(nn.Sequential(linear())), "module.0"),
        (linear(), ""),
    ],
)
def test_the_head_is_found_by_what_it_does(network: nn.Module, want: str) -> None:
    assert find_head_layer(network, INPUT, CLASSES) == want


def test_a_head_of_zeros_is_found_too() -> None:
    head = linear()
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    assert find_head_layer(Net(lambda s, x: s.a(x) * 2, a=head), INPUT, CLASSES) == "a"


def test_a_fresh_network_that_answers_nearly_nothing_has_one_head() -> None:
    network = build_network("efficientnet_b0", 10, IMAGE)
    # Two of its squeeze layers have ten outputs too, and all of them give nearly 0.
    assert find_head_layer(network, IMAGE, tuple("0123456789")) == "classifier.1"


def test_a_head_whose_weights_are_tied_to_another_layer_is_found() -> None:
    assert find_head_layer(tied(), INPUT, tuple("abcd")) == "last"


def test_a_convolution_before_relu_and_pooling_is_a_head() -> None:
    network = build_network("squeezenet1_1", 3, IMAGE)
    assert find_head_layer(network, IMAGE, CLASSES) == head_layer(network, "squeezenet1_1")


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_heads_of_timm_are_found(name: str) -> None:
    network = build_network(f"timm:{name}", 3, IMAGE)
    found = find_head_layer(network, IMAGE, CLASSES)
    assert found == network.pretrained_cfg["classifier"]


def test_timms_own_linear_layer_folds_as_torchs_does() -> None:
    network = build_network("timm:mobilenetv3_small_050", 3, IMAGE)
    head = Head(layer="classifier", classes=CLASSES)
    assert type(network.classifier) is not nn.Linear
    assert find_answer(network, input=IMAGE, head=head).folds


def test_a_distilled_network_names_both_heads_and_the_way_out() -> None:
    network = build_network("timm:deit_tiny_distilled_patch16_224", 3, IMAGE)
    with pytest.raises(ModelError, match=r"'head' \(3 outputs\), 'head_dist'") as caught:
        find_head_layer(network, IMAGE, CLASSES)
    assert "distilled" in caught.value.fix
    assert find_head_layer(network, IMAGE, CLASSES, OUTPUT) == OUTPUT


def test_two_layers_that_could_be_are_named() -> None:
    network = Net(lambda s, x: s.left(x) + s.right(x), left=linear(), right=linear())
    with pytest.raises(ModelError, match="none that is surely") as caught:
        find_head_layer(network, INPUT, CLASSES)
    assert "'left' (3 outputs), 'right' (3 outputs)" in caught.value.got
    assert 'head = "NAME"' in caught.value.fix and f'head = "{OUTPUT}"' in caught.value.fix
    assert find_head_layer(network, INPUT, CLASSES, OUTPUT) == OUTPUT


def test_several_that_pass_the_test_are_named() -> None:
    network = Net(
        lambda s, x: s.second(s.first(x).relu()).relu(),
        first=linear(),
        second=linear(3, 3, bias=False),
    )
    with pytest.raises(ModelError, match=r"2 layers that could be: 'first' .*'second'"):
        find_head_layer(network, INPUT, CLASSES)
    assert find_head_layer(network, INPUT, CLASSES, "second") == "second"


def test_without_any_the_linear_layers_are_listed() -> None:
    network = Net(lambda s, x: s.body(x)[:, :3] ** 2, body=linear(4, 9))
    with pytest.raises(ModelError, match=r"the linear layers are 'body' \(9 outputs\)"):
        find_head_layer(network, INPUT, CLASSES)
    with pytest.raises(ModelError, match="9 outputs"):
        find_head_layer(network, INPUT, CLASSES, "body")


def test_other_classes_than_outputs_are_said_with_both_numbers() -> None:
    with pytest.raises(ModelError, match=r"got 3 outputs; .*2 classes"):
        find_head_layer(Net(lambda s, x: s.a(x), a=linear()), INPUT, ("a", "b"))


def test_head_layer_refuses_another_network() -> None:
    with pytest.raises(ConfigError, match="no linear layer 'fc'"):
        head_layer(build_network("mlp", 3, INPUT), "resnet18")
    with pytest.raises(ConfigError, match="resnet18"):
        head_layer(nn.Linear(2, 2), "unknown")
