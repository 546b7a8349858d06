from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.errors import ModelError
from edgetl.quantize.head import body_nodes, find_head, preprocessing_nodes, read_model


def graph(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    constant = numpy_helper.from_array(np.ones((3, 3), np.float32), "w")
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", 3]) for n in ("x", "y")]
    value[1].name = "probabilities"
    return helper.make_graph(nodes, "g", value[:1], value[1:], [constant])


node = helper.make_node
SOFTMAX = node("Softmax", ["z"], ["probabilities"])


def test_the_head_of_an_exported_network_is_found(digits) -> None:
    model = read_model(digits.model)
    head = find_head(model.graph)
    assert [item.op_type for item in head.nodes] == ["Gemm", "Softmax"]
    assert {item.input[index] for item, index in head.constants} == {"15.weight", "15.bias"}
    before = [item.op_type for item in preprocessing_nodes(model.graph)]
    assert before == ["Cast", "Transpose", "Mul", "Add"]
    body = [item.op_type for item in body_nodes(model.graph)]
    assert body[0] == "Conv"
    assert body[-1] == "Reshape"


def test_a_product_and_its_bias_are_one_head() -> None:
    found = find_head(
        graph(node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "w"], ["z"]), SOFTMAX)
    )
    assert [item.op_type for item in found.nodes] == ["MatMul", "Add", "Softmax"]
    assert found.output == "z"
    assert len(found.constants) == 2


def scaled(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    made = graph(*nodes, node("Mul", ["y", "t"], ["z"]), SOFTMAX)
    made.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "t"))
    return made


def test_a_temperature_may_be_one_multiplication() -> None:
    found = find_head(
        scaled(
            node("Relu", ["x"], ["r"]),
            node("MatMul", ["r", "w"], ["m"]),
            node("Add", ["m", "w"], ["a"]),
            node("Tanh", ["a"], ["y"]),
        )
    )
    # The last layer and all after it: the logits do not pass through 8 bits.
    operators = ["MatMul", "Add", "Tanh", "Mul", "Softmax"]
    assert [item.op_type for item in found.nodes] == operators
    assert [(item.op_type, index) for item, index in found.constants] == [("Mul", 1)]
    assert found.output == "z"


def test_the_last_layers_of_every_branch_stay_in_float() -> None:
    network = scaled(
        node("MatMul", ["x", "w"], ["first"]),
        node("MatMul", ["first", "w"], ["left"]),
        node("MatMul", ["x", "w"], ["right"]),
        node("Add", ["left", "right"], ["y"]),
    )
    kept = {item.output[0] for item in find_head(network).nodes}
    assert kept == {"left", "right", "y", "z", "probabilities"}
    assert [item.output[0] for item in body_nodes(network)] == ["first"]


@pytest.mark.parametrize(
    ("nodes", "got"),
    [
        ([node("Relu", ["x"], ["probabilities"])], "Relu"),
        ([node("Relu", ["x"], ["z"]), SOFTMAX], "a softmax over Relu"),
        ([node("MatMul", ["x", "x"], ["z"]), SOFTMAX], "a MatMul of two activations"),
        ([node("Add", ["x", "x"], ["z"]), SOFTMAX], "a softmax over no node"),
        ([node("Softmax", ["x"], ["other"])], "no node"),
        ([node("Mul", ["x", "x"], ["z"]), SOFTMAX], "of two activations"),
        ([node("Mul", ["x", "w"], ["z"]), SOFTMAX], "of two activations"),
    ],
)
def test_what_is_no_softmax_head_is_refused(nodes: list[onnx.NodeProto], got: str) -> None:
    with pytest.raises(ModelError) as caught:
        find_head(graph(*nodes))
    assert got in caught.value.got


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x00" * 100])
def test_bytes_that_are_no_model_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError):
        read_model(data)
