from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from edgetl.errors import DataError, ModelError
from edgetl.quantize.qdq import int8_from_fp32
from edgetl.quantize.sqnr import LayerSqnr, layer_sqnr

SOME = 12


@pytest.fixture(scope="module")
def quantized(digits) -> bytes:
    return int8_from_fp32(digits.model, {"image": digits.ptq_samples}, threads=1)


@pytest.fixture(scope="module")
def inputs(digits) -> dict[str, np.ndarray]:
    return {"image": digits.images[:SOME]}


@pytest.fixture(scope="module")
def sound(digits, quantized, inputs) -> tuple[LayerSqnr, ...]:
    return layer_sqnr(digits.model, quantized, inputs, threads=1)


def all_values(model: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every value of a graph, by onnx's own reference implementation."""
    proto = onnx.load_from_string(model)
    names = [name for node in proto.graph.node for name in node.output]
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    values = ReferenceEvaluator(proto).run(names, inputs)
    return dict(zip(names, values, strict=True))


def decibels(exact: np.ndarray, given: np.ndarray) -> float:
    x, y = exact.astype(np.float64), given.astype(np.float64)
    return float(10 * np.log10((x**2).sum() / ((x - y) ** 2).sum()))


def broken(model: bytes, name: str, factor: float) -> bytes:
    proto = onnx.load_from_string(model)
    (tensor,) = (one for one in proto.graph.initializer if one.name == name)
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array((values * factor).astype(values.dtype), name))
    return proto.SerializeToString()


def layers_of(model: bytes) -> dict[str, tuple[str, str | None]]:
    """Each convolution's name -> its weights' scale, and the scale of its output."""
    graph = onnx.load_from_string(model).graph
    makers = {name: node for node in graph.node for name in node.output}
    rounds = {node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    return {
        node.name: (makers[node.input[1]].input[1], rounds[node.output[0]].input[1])
        for node in graph.node
        if node.op_type == "Conv" and node.output[0] in rounds
    }


def test_it_agrees_with_an_independent_evaluation(tensor_model: bytes) -> None:
    rng = np.random.default_rng(0)
    x = {"features": rng.normal(size=(40, 6)).astype(np.float32)}
    quantized = int8_from_fp32(tensor_model, x, threads=1)
    found = {layer.name: layer for layer in layer_sqnr(tensor_model, quantized, x, threads=1)}
    exact, given = all_values(tensor_model, x), all_values(quantized, x)
    graph = onnx.load_from_string(quantized).graph
    dequantized = {
        node.input[0]: f"{node.input[0]}_DequantizeLinear_Output"
        for node in graph.node
        if node.op_type == "QuantizeLinear"
    }
    compared = 0
    for node in graph.node:
        if node.name in found:
            output = node.output[0]
            end = given[dequantized.get(output, output)]
            expected = decibels(exact[output], end)
            assert found[node.name].accumulated_db == pytest.approx(expected, abs=0.01)
            compared += 1
    assert compared >= 1
    first = decibels(x["features"], given[dequantized["features"]])
    assert found["features"].operator == "Input"
    assert found["features"].sqnr_db == pytest.approx(first, abs=0.01)
    assert found["features"].accumulated_db == found["features"].sqnr_db


def test_a_layer_alone_is_given_the_exact_activations(tensor_model: bytes) -> None:
    rng = np.random.default_rng(1)
    x = {"features": rng.normal(size=(40, 6)).astype(np.float32)}
    quantized = int8_from_fp32(tensor_model, x, threads=1)
    graph = onnx.load_from_string(quantized).graph
    (gemm,) = (
        node
        for node in graph.node
        if node.op_type == "Gemm"
        and node.output[0] != "logits"
        and node.input[1].endswith("_DequantizeLinear_Output")
    )
    given, exact = all_values(quantized, x), all_values(tensor_model, x)
    weights, bias = (given[name].astype(np.float64) for name in gemm.input[1:3])
    flipped = any(one.name == "transB" and one.i for one in gemm.attribute)
    alone = x["features"] @ (weights.T if flipped else weights) + bias
    (rounding,) = (
        node
        for node in graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] == gemm.output[0]
    )
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    scale, zero = (constants[name].astype(np.float64) for name in rounding.input[1:3])
    rounded = (np.clip(np.round(alone / scale) + zero, 0, 255) - zero) * scale
    (layer,) = (
        one for one in layer_sqnr(tensor_model, quantized, x, threads=1) if one.name == gemm.name
    )
    expected = decibels(exact[gemm.output[0]], rounded)
    assert layer.sqnr_db == pytest.approx(expected, abs=0.05)
    assert layer.sqnr_db > layer.accumulated_db


def test_sound_layers_keep_their_signal_and_the_lowest_comes_first(sound) -> None:
    assert [layer.sqnr_db for layer in sound] == sorted(layer.sqnr_db for layer in sound)
    assert sum(layer.operator == "Conv" for layer in sound) >= 5
    assert all(layer.sqnr_db > 20 for layer in sound)
    # The head is in float.
    assert not any(layer.operator == "Gemm" for layer in sound)


@pytest.mark.parametrize("which", [0, 2, 5])
@pytest.mark.parametrize(("scale", "factor"), [(0, 0.02), (1, 0.05)])
def test_a_layer_whose_scale_is_destroyed_is_the_one_that_is_named(
    digits, quantized, inputs, sound, which: int, scale: int, factor: float
) -> None:
    name, scales = list(layers_of(quantized).items())[which]
    damaged = broken(quantized, scales[scale], factor)
    found = layer_sqnr(digits.model, damaged, inputs, threads=1)
    assert found[0].name == name and found[0].operator == "Conv"
    assert found[0].sqnr_db < found[1].sqnr_db - 10
    # The layers behind it answer otherwise too, and are not to blame.
    before = {layer.name: layer.sqnr_db for layer in sound}
    for layer in found[1:]:
        assert layer.sqnr_db == pytest.approx(before[layer.name], abs=1e-6)
    assert min(found, key=lambda layer: layer.accumulated_db).accumulated_db < 10


def test_a_layer_that_gives_nothing_has_no_ratio_below_the_floor(digits, quantized, inputs) -> None:
    name, (scale, _) = next(iter(layers_of(quantized).items()))
    loud = broken(quantized, scale, 1e12)
    found = {one.name: one for one in layer_sqnr(digits.model, loud, inputs, threads=1)}
    assert -200 <= found[name].sqnr_db < 10


def test_the_batch_changes_nothing(digits, quantized, inputs, sound) -> None:
    whole = layer_sqnr(digits.model, quantized, inputs, batch=SOME, threads=1)
    assert [one.name for one in whole] == [one.name for one in sound]
    for one, other in zip(whole, sound, strict=True):
        assert one.sqnr_db == pytest.approx(other.sqnr_db, abs=1e-6)
    odd = layer_sqnr(digits.model, quantized, inputs, batch=5, threads=1)
    assert [one.name for one in odd] == [one.name for one in sound]


def test_an_unquantized_copy_adds_no_noise(digits, inputs) -> None:
    assert layer_sqnr(digits.model, digits.model, inputs, threads=1) == ()


def test_two_networks_are_not_compared(digits, quantized, tensor_model, inputs) -> None:
    with pytest.raises(ModelError, match="its own FP32 model"):
        layer_sqnr(tensor_model, quantized, inputs, threads=1)


def test_without_samples_there_is_no_ratio(digits, quantized) -> None:
    with pytest.raises(DataError, match="none"):
        layer_sqnr(digits.model, quantized, {"image": digits.images[:0]}, threads=1)
