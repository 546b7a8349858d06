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


@pytest.mark.parametrize(
    ("nodes", "got"),
    [
        ([node("Relu", ["x"], ["probabilities"])], "Relu"),
        ([node("Relu", ["x"], ["z"]), SOFTMAX], "a softmax over Relu"),
        ([node("MatMul", ["x", "x"], ["z"]), SOFTMAX], "a MatMul of two activations"),
        ([node("Add", ["x", "x"], ["z"]), SOFTMAX], "a softmax over no node"),
        ([node("Softmax", ["x"], ["other"])], "no node"),
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
