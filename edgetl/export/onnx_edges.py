"""Both edges of an ONNX graph made elsewhere: edgetl's preprocessing and its softmax head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from edgetl.reference.onnx_file import OnnxEnding
from edgetl.reference.onnx_inputs import InputPart
from edgetl.reference.onnx_network import LOWEST_PROBABILITY
from edgetl.spec import Array, ImageInput

_LINEAR = ("Gemm", "MatMul")


def put_preprocessing(graph: ir.Graph, parts: Sequence[InputPart]) -> None:
    """Put edgetl's inputs in the place of the graph's own, in place.

    uint8 NHWC → Cast → the network's order of channels and layout → scale and normalise; a
    tensor enters as it is.

    Args:
        graph: With the inputs that `parts` name as their targets.
        parts: In the order of edgetl's inputs.
    """
    own = {value.name: value for value in graph.inputs}
    graph.inputs.clear()
    first = next(iter(graph), None)
    for one in parts:
        tensor = one.part.tensor
        value = ir.Value(
            name=one.name,
            type=ir.TensorType(ir.DataType.UINT8 if tensor.dtype == "uint8" else ir.DataType.FLOAT),
            shape=ir.Shape(["batch", *tensor.shape[1:]]),
        )
        graph.inputs.append(value)
        nodes = _preprocessing(graph, value, one) if isinstance(one.part, ImageInput) else []
        if first is None:
            graph.extend(nodes)
        else:
            graph.insert_before(first, nodes)
        ready = nodes[-1].outputs[0] if nodes else value
        own[one.target.name].replace_all_uses_with(ready)


def put_head(
    graph: ir.Graph, logits: Sequence[ir.Value], ending: OnnxEnding, *, temperature: float
) -> ir.Value:
    """Let the graph answer ``probabilities`` alone, with the temperature inside, in place.

    Args:
        graph: Whatever its outputs are.
        logits: What the softmax is to be taken of, and before it tensors of the same numbers,
            shape and type, nearest first; the last is taken, or the last of a linear layer.
        ending: What these are: probabilities become logits by their logarithm.
        temperature: Divides the logits.

    Returns:
        The logits after the division.
    """
    linear = [value for value in logits if _weights(value)]
    value = (linear or logits)[-1]
    if ending is OnnxEnding.PROBABILITIES:
        floor = _constant(graph, "edgetl/lowest_probability", np.float32(LOWEST_PROBABILITY))
        value = _add(graph, "Clip", [value, floor])
        value = _add(graph, "Log", [value])
        linear = []
    if linear:
        for node, index in _weights(value):
            _divide(graph, node, index, temperature)
    else:
        factor = _constant(graph, "edgetl/inverse_temperature", np.float32(1 / temperature))
        value = _add(graph, "Mul", [value, factor])
    probabilities = _add(graph, "Softmax", [value], axis=-1)
    probabilities.name = "probabilities"
    graph.outputs.clear()
    graph.outputs.append(probabilities)
    return value


def keep_names_free(graph: ir.Graph, reserved: set[str]) -> None:
    """Rename the file's own values and nodes where edgetl's names would meet them, in place.

    Its inputs keep theirs: edgetl's take their place.

    Nodes without a name get one from their operator.
    """
    taken = {value.name for value in _values(graph)}
    for value in _values(graph):
        name = value.name or ""
        if name in reserved or name.startswith("edgetl/"):
            value.name = _free_name(f"network/{name}", taken)
    nodes: set[str | None] = {node.name for node in graph}
    for index, node in enumerate(graph):
        if not node.name or node.name.startswith("edgetl/"):
            node.name = _free_name(f"{node.op_type}_{index}", nodes)


def _free_name(name: str, taken: set[str | None]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from tuple(graph.initializers.values())
    for node in graph:
        yield from node.outputs


def _preprocessing(graph: ir.Graph, value: ir.Value, one: InputPart) -> list[ir.Node]:
    image = one.part
    assert isinstance(image, ImageInput)
    prefix = f"edgetl/{one.name}"
    # TensorRT takes a uint8 input only when a Cast is its one and first reader.
    nodes = [_node(prefix, "Cast", [value], to=ir.DataType.FLOAT.value)]
    if image.channels == "bgr":
        order = _constant(graph, f"{prefix}/bgr", np.array([2, 1, 0], np.int64))
        nodes.append(_node(prefix, "Gather", [nodes[-1].outputs[0], order], axis=3))
    if one.layout == "NCHW":
        nodes.append(_node(prefix, "Transpose", [nodes[-1].outputs[0]], perm=[0, 3, 1, 2]))
    shape = (1, -1, 1, 1) if one.layout == "NCHW" else (1, 1, 1, -1)
    std = np.asarray(image.std, np.float64).reshape(shape)
    mean = np.asarray(image.mean, np.float64).reshape(shape)
    top = 255.0 if image.pixel_range == "0-1" else 1.0
    # (x / top - mean) / std as one multiplication and one addition, each left out if it is none.
    for operator, numbers in (("Mul", 1 / (top * std)), ("Add", -mean / std)):
        if (numbers != (operator == "Mul")).any():
            constant = _constant(graph, f"{prefix}/{operator}", numbers.astype(np.float32))
            nodes.append(_node(prefix, operator, [nodes[-1].outputs[0], constant]))
    return nodes


def _weights(value: ir.Value) -> list[tuple[ir.Node, int]]:
    """The weights of the linear layer that gives a value: (node, index) pairs; [] for none."""
    last = value.producer()
    if last is None:
        return []
    found = _constants(last)
    if last.op_type == "Add" and len(found) == 1:
        inner = last.inputs[1 - found[0][1]]
        last = None if inner is None else inner.producer()
        if last is None or last.op_type != "MatMul":
            return []
        found += _constants(last)
    elif last.op_type not in _LINEAR:
        return []
    kernel = any(node.op_type in _LINEAR and index < 2 for node, index in found)
    # All of it must be constant, the bias of a Gemm too, for the quotient to be the whole's.
    whole = len(found) == (len(last.inputs) - 1 if last.op_type == "Gemm" else len(found))
    return found if kernel and whole else []


def _constants(node: ir.Node) -> list[tuple[ir.Node, int]]:
    return [
        (node, index)
        for index, value in enumerate(node.inputs)
        if value is not None
        and value.is_initializer()
        and value.const_value is not None
        and value.const_value.dtype == ir.DataType.FLOAT
    ]


def _divide(graph: ir.Graph, node: ir.Node, index: int, temperature: float) -> None:
    value = node.inputs[index]
    assert value is not None and value.const_value is not None and value.name is not None
    numbers = value.const_value.numpy().astype(np.float64) / temperature
    divided = ir.tensor(numbers.astype(np.float32), name=value.name)
    if len(value.uses()) == 1:
        value.const_value = divided
        return
    # Another layer reads the same weights.
    copy = _constant(graph, f"edgetl/{value.name}", divided.numpy())
    node.replace_input_with(index, copy)


def _constant(graph: ir.Graph, name: str, numbers: Array | np.float32) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(np.asarray(numbers), name=name))
    graph.register_initializer(value)
    return value


def _add(graph: ir.Graph, operator: str, inputs: Sequence[ir.Value], **attributes: int) -> ir.Value:
    node = _node("edgetl", operator, inputs, **attributes)
    graph.append(node)
    return node.outputs[0]


def _node(
    prefix: str, operator: str, inputs: Sequence[ir.Value], **attributes: int | Sequence[int]
) -> ir.Node:
    node = ir.node(operator, inputs, attributes=attributes, name=f"{prefix}/{operator}")
    node.outputs[0].name = f"{node.name}.0"
    return node
