from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgetl.errors import ModelError
from edgetl.quantize.qdq import int8_from_fp32
from edgetl.quantize.refit import scale_head, with_logits

X = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)


def run(model: bytes, x: NDArray[np.float32] = X) -> dict[str, NDArray[np.float32]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"features": x}), strict=True))


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


@pytest.fixture(params=["fp32", "int8"])
def model(request, tensor_model: bytes) -> bytes:
    return (
        tensor_model if request.param == "fp32" else int8_from_fp32(tensor_model, {"features": X})
    )


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_logits_are_divided(model: bytes, temperature: float) -> None:
    before = run(with_logits(model))["logits"].astype(np.float64)
    after = run(with_logits(scale_head(model, temperature)))
    np.testing.assert_allclose(after["logits"], before / temperature, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after["probabilities"], softmax(before / temperature), atol=1e-6)


def test_the_logits_are_what_the_softmax_is_taken_of(model: bytes) -> None:
    both = run(with_logits(model))
    assert list(both) == ["probabilities", "logits"]
    assert both["logits"].dtype == np.float32
    np.testing.assert_allclose(both["probabilities"], softmax(both["logits"]), atol=1e-6)
    np.testing.assert_array_equal(both["probabilities"], run(model)["probabilities"])


def test_logits_that_are_there_already_change_nothing(model: bytes) -> None:
    once = with_logits(model)
    assert with_logits(once) == once


def test_a_name_in_use_is_not_taken(tensor_model: bytes) -> None:
    proto = onnx.load_from_string(tensor_model)
    old = proto.graph.node[0].output[0]
    for node in proto.graph.node:
        for values in (node.input, node.output):
            values[:] = ["logits" if name == old else name for name in values]
    del proto.graph.value_info[:]
    with pytest.raises(ModelError, match="'logits'"):
        with_logits(proto.SerializeToString())


@pytest.mark.parametrize("temperature", [0.0, -2.0, float("nan"), float("inf")])
def test_a_temperature_must_be_positive_and_finite(model: bytes, temperature: float) -> None:
    with pytest.raises(ModelError, match="temperature"):
        scale_head(model, temperature)


@pytest.fixture(params=["fp32", "int8"])
def scaled_model(request) -> bytes:
    """Two layers and a squashing after them: the temperature is one multiplication."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(6, 8)), "v": rng.normal(size=(8, 3)), "t": np.array(4.0)}
    nodes = [
        helper.make_node("MatMul", ["features", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["m"]),
        helper.make_node("Tanh", ["m"], ["s"]),
        helper.make_node("Mul", ["s", "t"], ["z"]),
        helper.make_node("Softmax", ["z"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("features", 1, ["b", 6])],
        [helper.make_tensor_value_info("probabilities", 1, ["b", 3])],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, ir_version=10, opset_imports=opset).SerializeToString()
    return model if request.param == "fp32" else int8_from_fp32(model, {"features": X})


def test_a_temperature_that_is_one_multiplication_is_divided(scaled_model: bytes) -> None:
    before = run(with_logits(scaled_model))["logits"].astype(np.float64)
    after = run(with_logits(scale_head(scaled_model, 2.5)))
    np.testing.assert_allclose(after["logits"], before / 2.5, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after["probabilities"], softmax(before / 2.5), atol=1e-6)


@pytest.mark.parametrize("scaled_model", ["int8"], indirect=True)
def test_int8_leaves_the_last_layer_and_what_follows_in_float(scaled_model: bytes) -> None:
    nodes = onnx.load_from_string(scaled_model).graph.node
    by_output = {name: item for item in nodes for name in item.output}
    quantized = {name for item in nodes if item.op_type == "QuantizeLinear" for name in item.input}
    assert "features" in quantized
    assert not quantized & {"m", "s", "z"}
    # The first layer is quantized, and the last one's weights are not.
    assert by_output["m"].input[1] == "v"
    layers = [item for item in nodes if item.op_type == "MatMul"]
    assert by_output[layers[0].input[1]].op_type == "DequantizeLinear"


def test_weights_that_another_layer_shares_are_copied() -> None:
    rng = np.random.default_rng(0)
    weights = numpy_helper.from_array(rng.normal(size=(6, 6)).astype(np.float32), "w")
    value = [helper.make_tensor_value_info(n, 1, ["b", 6]) for n in ("features", "probabilities")]
    nodes = [
        helper.make_node("MatMul", ["features", "w"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["z"]),
        helper.make_node("Softmax", ["z"], ["probabilities"]),
    ]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], [weights])
    opset = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, ir_version=10, opset_imports=opset).SerializeToString()
    before = run(with_logits(model))["logits"]
    after = run(with_logits(scale_head(model, 2.0)))["logits"]
    np.testing.assert_allclose(after, before / 2, rtol=1e-5)


def test_int8_head_weights_keep_their_integers(tensor_model: bytes, tmp_path: Path) -> None:
    quantized = _with_int8_head(tensor_model, tmp_path)
    scaled = scale_head(quantized, 2.0)
    before = run(with_logits(quantized))["logits"]
    after = run(with_logits(scaled))["logits"]
    np.testing.assert_allclose(after, before / 2, rtol=1e-5, atol=1e-6)
    was, now = (_integers(model) for model in (quantized, scaled))
    assert was.keys() == now.keys()
    assert len(was) >= 4
    for name, values in was.items():
        np.testing.assert_array_equal(values, now[name])


def _with_int8_head(model: bytes, folder: Path) -> bytes:
    from onnxruntime.quantization import QuantType, quantize_static

    samples = iter([{"features": X}])

    class Reader:
        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(samples, None)

    quantize_static(
        onnx.load_from_string(model),
        folder / "int8.onnx",
        Reader(),
        op_types_to_quantize=["Gemm"],
        activation_type=QuantType.QUInt8,
        per_channel=True,
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
    )
    return (folder / "int8.onnx").read_bytes()


def _integers(model: bytes) -> dict[str, NDArray[np.int32]]:
    tensors = onnx.load_from_string(model).graph.initializer
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}
    return {name: array for name, array in arrays.items() if array.dtype.kind == "i"}
