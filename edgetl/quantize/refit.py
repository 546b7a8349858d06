"""The head of an exported classifier, refitted in place: its temperature, and its logits."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import numpy_helper

from edgetl.errors import ModelError
from edgetl.quantize.head import SoftmaxHead, find_head, read_model


def scale_head(model: bytes, temperature: float) -> bytes:
    """Divide the logits by a further temperature, inside the head's weights and bias.

    Where the weights are INT8, their scales are divided and the integers stay as they are. Where
    the head's temperature is one multiplication, its factor is divided.

    Args:
        model: An ONNX classifier's bytes, FP32 or INT8.
        temperature: What the present logits should be divided by; above 0.

    Returns:
        The new file's bytes.

    Raises:
        ModelError: When the temperature is not a finite number above 0, or there is no softmax
            head.

    Example:
        >>> text = '''<ir_version: 10, opset_import: ["": 20]>
        ... g (float[b, 2] x) => (float[b, 2] probabilities) <float[2, 2] w = {1, 0, 0, 1}>
        ... {h = MatMul(x, w) r = Relu(h) z = MatMul(r, w) probabilities = Softmax(z)}'''
        >>> model = onnx.parser.parse_model(text).SerializeToString()
        >>> graph = onnx.load_from_string(scale_head(model, 4.0)).graph
        >>> numpy_helper.to_array(graph.initializer[-1]).diagonal().tolist()
        [0.25, 0.25]
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ModelError(
            "temperature",
            got=str(temperature),
            expected="a finite number above 0",
            fix="fit it again",
        )
    proto = read_model(model)
    for node, index in find_head(proto.graph).constants:
        _divide(proto.graph, node, index, temperature)
    return _serialized(proto)


def with_logits(model: bytes) -> bytes:
    """Let an ONNX classifier also answer ``logits``, what its softmax is taken of.

    Args:
        model: An ONNX classifier's bytes.

    Returns:
        The new file's bytes; `model` itself when it answers them already.

    Raises:
        ModelError: When there is no softmax head, or something else is called ``logits``.

    Example:
        >>> text = '''<ir_version: 10, opset_import: ["": 20]>
        ... g (float[b, 2] x) => (float[b, 2] probabilities) <float[2, 2] w = {1, 0, 0, 1}>
        ... {h = MatMul(x, w) r = Relu(h) z = MatMul(r, w) probabilities = Softmax(z)}'''
        >>> model = onnx.parser.parse_model(text).SerializeToString()
        >>> [value.name for value in onnx.load_from_string(with_logits(model)).graph.output]
        ['probabilities', 'logits']
    """
    proto = read_model(model)
    head = find_head(proto.graph)
    if any(value.name == "logits" for value in proto.graph.output):
        return model
    _rename(proto.graph, head)
    answer = onnx.ValueInfoProto()
    answer.CopyFrom(next(v for v in proto.graph.output if v.name == "probabilities"))
    answer.name = "logits"
    proto.graph.output.append(answer)
    return _serialized(proto)


def _divide(graph: onnx.GraphProto, node: onnx.NodeProto, index: int, temperature: float) -> None:
    """Divide one constant input of a node; a constant that others read is copied first."""
    name = node.input[index]
    dequantize = next((maker for maker in graph.node if name in maker.output), None)
    if dequantize is not None:
        if _readers(graph, name) > 1:
            raise _shared(name)
        _divide(graph, dequantize, 1, temperature)
        return
    tensor = next(tensor for tensor in graph.initializer if tensor.name == name)
    values = numpy_helper.to_array(tensor)
    divided = (values.astype(np.float64) / temperature).astype(values.dtype)
    if _readers(graph, name) > 1:
        tensor = graph.initializer.add()
        node.input[index] = f"{name}, of the head"
    tensor.CopyFrom(numpy_helper.from_array(divided, node.input[index]))


def _readers(graph: onnx.GraphProto, name: str) -> int:
    return sum(list(node.input).count(name) for node in graph.node)


def _rename(graph: onnx.GraphProto, head: SoftmaxHead) -> None:
    old = head.output
    names = {name for node in graph.node for name in (*node.input, *node.output)}
    if "logits" in names - {old}:
        raise ModelError(
            "tensor 'logits'",
            got="a value inside the network of that name",
            expected="the name to be free for the head's output",
            fix="export the classifier with edgetl",
        )
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = ["logits" if name == old else name for name in values]
    kept = [value for value in graph.value_info if value.name != old]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def _shared(name: str) -> ModelError:
    return ModelError(
        f"head weights '{name}'",
        got="quantized weights that another node reads as well",
        expected="weights of the head alone",
        fix="export the classifier with edgetl",
    )


def _serialized(proto: onnx.ModelProto) -> bytes:
    data: bytes = proto.SerializeToString(deterministic=True)
    onnx.checker.check_model(data)
    return data
