"""Modules in the order that they run, and blocks of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgetl.errors import ConfigError
from edgetl.reference.network import build_network
from edgetl.spec import ImageInput, TensorInput
from edgetl.train.depth import depth_of

IMAGE = ImageInput(height=32, width=32)


class _Backwards(nn.Module):
    """Registers its parts in another order than they run."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.second = nn.Linear(5, 4)
        self.first = nn.Linear(3, 5)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x * self.scale)))


def test_the_order_is_that_of_running_and_not_of_writing() -> None:
    network = _Backwards()
    depth = depth_of(network, TensorInput(shape=(3,)), "head")
    assert [name for name, _ in depth.blocks] == ["first", "second", "head"]
    names = ("scale", "first.weight", "second.bias", "head.weight")
    assert [depth.below_head(name) for name in names] == [2, 2, 1, 0]
    assert depth.of_parameter("scale") == 0 < depth.of_module("first")
    assert all(module.training for module in network.modules())
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_the_blocks_of_a_resnet_are_its_stem_and_its_residual_blocks() -> None:
    depth = depth_of(build_network("resnet18", 3, IMAGE), IMAGE, "fc")
    residual = [f"layer{stage}.{at}" for stage in range(1, 5) for at in range(2)]
    assert [name for name, _ in depth.blocks] == ["conv1", *residual, "fc"]
    assert depth.below_head("bn1.weight") == depth.below_head("conv1.weight") == 9
    assert depth.below_head("layer4.1.conv2.weight") == 1
    assert depth.of_module("layer4") < depth.of_module("layer4.0") < depth.of_module("fc")


def test_the_blocks_of_a_transformer_are_its_layers() -> None:
    depth = depth_of(build_network("vit_b_16", 3, IMAGE), IMAGE, "heads.head")
    names = [name for name, _ in depth.blocks]
    assert names[0] == "conv_proj" and names[-1] == "heads.head" and len(names) == 14
    # Of an attention's own projection only the weight is read; it lies where its block lies.
    inner = "encoder.layers.encoder_layer_3.self_attention.out_proj.weight"
    assert depth.below_head(inner) == 9
    assert depth.below_head("class_token") == depth.below_head("conv_proj.weight") == 13


def test_a_module_that_is_not_there_is_refused_with_the_blocks_that_are() -> None:
    depth = depth_of(_Backwards(), TensorInput(shape=(3,)), "head")
    for name in ("third", ""):
        with pytest.raises(ConfigError, match="first, second, head") as caught:
            depth.of_module(name)
        assert caught.value.subject == "train_from"
