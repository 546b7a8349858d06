from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgetl.errors import ModelError
from edgetl.export.onnx_from_torch import onnx_from_torch
from edgetl.export.parity import check_parity
from edgetl.reference.network import build_network, head_layer
from edgetl.spec import ClassifierInput, Head, ImageInput, TensorInput

CLASSES = tuple("0123456789")
TEMPERATURE = 1.7

Export = tuple[bytes, NDArray[np.float32], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def export(digits, float_input, settled) -> Callable[[str], Export]:
    made: dict[str, Export] = {}

    def exported(architecture: str) -> Export:
        if architecture not in made:
            made[architecture] = _export(architecture)
        return made[architecture]

    def _export(architecture: str) -> Export:
        torch.manual_seed(0)
        size = 32 if architecture in ("resnet18", "mobilenet_v3_small") else 64
        x = digits(size)
        input: ClassifierInput = ImageInput(height=size, width=size)
        if architecture == "mlp":
            input = TensorInput(shape=(64,))
            x = np.ascontiguousarray(digits(8)[..., 0].reshape(-1, 64) / np.float32(255))
        layer = head_layer(build_network(architecture, 10, input), architecture)
        network = build_network(architecture, 10, input)
        settled(network, network.get_submodule(layer), float_input(x, input))
        head = Head(layer=layer, classes=CLASSES, temperature=TEMPERATURE)
        model = onnx_from_torch(network, input=input, head=head)
        with torch.inference_mode():
            raw = network(float_input(x, input))
        return model, torch.softmax(raw / TEMPERATURE, dim=1).numpy(), x

    return exported


@pytest.mark.parametrize(
    "architecture",
    [
        "mlp",
        "resnet18",
        "mobilenet_v3_small",
        pytest.param("resnet50", marks=pytest.mark.slow),
        pytest.param("mobilenet_v3_large", marks=pytest.mark.slow),
        pytest.param("efficientnet_b0", marks=pytest.mark.slow),
        pytest.param("vit_b_16", marks=pytest.mark.slow),
    ],
)
def test_an_architecture_answers_in_onnx_as_in_torch(export, architecture: str) -> None:
    model, reference, x = export(architecture)
    assert len(set(reference.argmax(axis=1))) >= 4
    # In batches of one, and of another size than the exporter's example.
    inputs = {"features" if architecture == "mlp" else "image": x}
    single = check_parity(model, reference, inputs, batch=1)
    whole = check_parity(model, reference, inputs, batch=len(x))
    assert single.images == whole.images == len(x)
    # It shows nothing on a network that answers every image alike.
    assert whole.spread > 0.05
    _check_graph(onnx.load_from_string(model), architecture)


def _check_graph(model: onnx.ModelProto, architecture: str) -> None:
    (input,) = model.graph.input
    readers = [node.op_type for node in model.graph.node if input.name in node.input]
    assert readers == (["Gemm"] if architecture == "mlp" else ["Cast"])
    assert [value.name for value in model.graph.output] == ["probabilities"]
    count = Counter(node.op_type for node in model.graph.node)
    assert count["Softmax"] == (13 if architecture == "vit_b_16" else 1)
    assert count["BatchNormalization"] == 0
    assert model.graph.node[-1].op_type == "Softmax"


def test_the_file_says_nothing_of_where_it_was_made(export) -> None:
    model, _, _ = export("resnet18")
    proto = onnx.load_from_string(model)
    graph = proto.graph
    parts = [proto, graph, *graph.node, *graph.initializer, *graph.value_info]
    parts += [*graph.input, *graph.output]
    assert not any(part.metadata_props for part in parts)
    assert not any(part.doc_string for part in parts)
    for trace in (b"/edgetl/", b".py", b"torch", b"site-packages", b"Traceback"):
        assert trace not in model
    assert not any(tensor.external_data for tensor in graph.initializer)
    assert proto.producer_name == "edgetl"


def test_names_come_from_the_networks_layers(export) -> None:
    model, _, _ = export("resnet18")
    graph = onnx.load_from_string(model).graph
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    assert {"fc/Gemm", "maxpool/MaxPool", "layer1.0.relu/Relu"} <= set(names)
    assert "fc.weight" in {tensor.name for tensor in graph.initializer}


def test_the_temperature_is_inside_the_head(export) -> None:
    linear = nn.Linear(4, 2)
    head = Head(layer="", classes=("a", "b"), temperature=4.0)
    model = onnx_from_torch(linear, input=TensorInput(shape=(4,)), head=head)
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in _graph(model).initializer}
    # A quarter is exact.
    np.testing.assert_array_equal(weights["weight"], linear.weight.detach().numpy() / 4)
    np.testing.assert_array_equal(weights["bias"], linear.bias.detach().numpy() / 4)


def test_a_network_that_ends_in_softmax_gets_no_second_one() -> None:
    for ending in (nn.Softmax(dim=1), nn.LogSoftmax(dim=1)):
        network = nn.Sequential(nn.Linear(4, 3), ending)
        head = Head(layer="0", classes=("a", "b", "c"))
        model = onnx_from_torch(network, input=TensorInput(shape=(4,)), head=head)
        assert [node.op_type for node in _graph(model).node] == ["Gemm", "Softmax"]


@pytest.mark.parametrize("opset", [18, 20, 21])
def test_opset_and_logits_are_what_was_asked_for(opset: int) -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    head = Head(layer="3", classes=("a", "b", "c"))
    input = TensorInput(shape=(4,))
    model = onnx_from_torch(network, input=input, head=head, opset=opset, logits=True)
    proto = onnx.load_from_string(model)
    assert [(item.domain, item.version) for item in proto.opset_import] == [("", opset)]
    assert [value.name for value in proto.graph.output] == ["probabilities", "logits"]
    assert {value.type.tensor_type.elem_type for value in proto.graph.output} == {1}
    x = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(x))
    check_parity(model, torch.softmax(expected, dim=1).numpy(), {"features": x})


@pytest.mark.parametrize("opset", [17, 99])
def test_an_opset_out_of_range_is_refused(opset: int) -> None:
    with pytest.raises(ModelError, match="opset"):
        onnx_from_torch(
            nn.Linear(4, 2),
            input=TensorInput(shape=(4,)),
            head=Head(layer="", classes=("a", "b")),
            opset=opset,
        )


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x if x.sum() > 0 else -x)


def test_what_cannot_be_traced_is_said_without_a_traceback() -> None:
    head = Head(layer="head", classes=("a", "b"))
    with pytest.raises(ModelError, match="data-dependent") as caught:
        onnx_from_torch(Branching(), input=TensorInput(shape=(4,)), head=head)
    assert "\n" not in str(caught.value)


SCRIPT = """
import hashlib, sys, torch
from edgetl.export.onnx_from_torch import onnx_from_torch
from edgetl.reference.network import build_network
from edgetl.spec import Head, ImageInput, TensorInput
torch.manual_seed(0)
name = sys.argv[1]
input = TensorInput(shape=(64,)) if name == "mlp" else ImageInput(height=32, width=32)
head = Head(layer={"mlp": "head", "resnet18": "fc"}[name], classes=("a", "b", "c"))
model = onnx_from_torch(build_network(name, 3, input), input=input, head=head, logits=True)
print(hashlib.sha256(model).hexdigest())
"""


@pytest.mark.parametrize("architecture", ["mlp", pytest.param("resnet18", marks=pytest.mark.slow)])
def test_two_fresh_processes_write_the_same_bytes_and_print_nothing(
    architecture: str, tmp_path
) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, architecture],
            # Another order of sets, another folder, the same bytes.
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed, folder in (("1", tmp_path), ("2", None))
    ]
    answers = [run.communicate() for run in runs]
    assert all(error == "" for _, error in answers)
    assert answers[0][0] == answers[1][0]
    assert len(answers[0][0].split()) == 1
    assert not list(tmp_path.iterdir())


def _graph(model: bytes) -> onnx.GraphProto:
    return onnx.load_from_string(model).graph
