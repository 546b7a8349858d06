"""Where a classifier's ONNX graph has its softmax head and its preprocessing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

from edgetl.backends.onnx_check import check_onnx
from edgetl.errors import ModelError

LINEAR_OPS = frozenset({"Gemm", "MatMul"})
LAYER_OPS = LINEAR_OPS | {"Conv", "ConvTranspose"}


@dataclass(frozen=True, kw_only=True)
class SoftmaxHead:
    """The nodes of a softmax head, in the graph they belong to.

    Its temperature is in the weights of the last linear layer, or is one multiplication after
    whatever comes last, such as a pooling or a normalisation.

    Attributes:
        nodes: All of them, the Softmax that gives ``probabilities`` last: the last Gemm or MatMul
            and its Add, or the multiplication and what comes before it, back to the last layers,
            which are among them. None is quantized.
        constants: What scales with the logits, as (node, index of the input) pairs: the weights
            and the bias, or the factor.
    """

    nodes: tuple[onnx.NodeProto, ...]
    constants: tuple[tuple[onnx.NodeProto, int], ...]

    @property
    def output(self) -> str:
        """The name of the logits."""
        return str(self.nodes[-1].input[0])


def read_model(model: bytes) -> onnx.ModelProto:
    """Parse an ONNX file, after the checks that a backend makes before it loads one.

    Raises:
        ModelError: When the bytes are not an ONNX model, or one that a backend would refuse.
    """
    check_onnx(model)
    return onnx.load_from_string(model)


def find_head(graph: onnx.GraphProto) -> SoftmaxHead:
    """The softmax head: from ``probabilities`` back to the last linear layer or the temperature.

    Raises:
        ModelError: When the output is not a softmax over a linear layer with constant weights, or
            over a multiplication by a constant number.
    """
    makers = {name: node for node in graph.node for name in node.output}
    constants = _constants(graph)
    softmax = makers.get("probabilities")
    if softmax is None or softmax.op_type != "Softmax":
        raise _no_head(_kind(softmax))
    last = makers.get(softmax.input[0])
    if last is not None and last.op_type == "Mul":
        return _scaled_head(graph, last, softmax, makers)
    bias = None
    if last is not None and last.op_type == "Add":
        bias = last
        inner = [makers[name] for name in last.input if name in makers and name not in constants]
        last = inner[0] if len(inner) == 1 else None
    if last is None or last.op_type not in LINEAR_OPS:
        raise _no_head(f"a softmax over {_kind(last)}")
    linear = (last,) if bias is None else (last, bias)
    weights = [
        (node, index)
        for node in linear
        for index, name in enumerate(node.input)
        if name in constants
    ]
    if not any(node.op_type in LINEAR_OPS and index < 2 for node, index in weights):
        raise _no_head(f"a {last.op_type} of two activations")
    return SoftmaxHead(nodes=(*linear, softmax), constants=tuple(weights))


def _scaled_head(
    graph: onnx.GraphProto,
    product: onnx.NodeProto,
    softmax: onnx.NodeProto,
    makers: Mapping[str, onnx.NodeProto],
) -> SoftmaxHead:
    """A head whose temperature is one multiplication by a constant number."""
    numbers = {tensor.name for tensor in graph.initializer if math.prod(tensor.dims) == 1}
    factors = [index for index, name in enumerate(product.input) if name in numbers]
    if len(factors) != 1:
        raise _no_head(f"a softmax over {_kind(product)} of two activations")
    found: dict[str, onnx.NodeProto] = {}
    # The last layers give the logits, as the linear layer of another head does: 8 bits for their
    # output would cost likelihood.
    waiting = [product.input[1 - factors[0]]]
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.output[0] in found:
            continue
        found[node.output[0]] = node
        if node.op_type not in LAYER_OPS:
            waiting.extend(node.input)
    tail = (node for node in graph.node if node.output[0] in found)
    return SoftmaxHead(nodes=(*tail, product, softmax), constants=((product, factors[0]),))


def preprocessing_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes before the first layers: none of what they compute comes from a layer."""
    after_layer: set[str] = set()
    found = []
    for node in graph.node:
        if node.op_type in LAYER_OPS or not after_layer.isdisjoint(node.input):
            after_layer.update(node.output)
        else:
            found.append(node)
    return found


def body_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes between preprocessing and head, in the order of the graph.

    Raises:
        ModelError: When there is no softmax head.
    """
    # By what it computes: a protobuf node has no identity of its own, and may have no name.
    outside = {node.output[0] for node in (*preprocessing_nodes(graph), *find_head(graph).nodes)}
    return [node for node in graph.node if node.output[0] not in outside]


def _constants(graph: onnx.GraphProto) -> set[str]:
    """Initializers, and what a DequantizeLinear makes of initializers."""
    names = {tensor.name for tensor in graph.initializer}
    dequantized = _outputs_over(graph.node, names)
    return names | dequantized


def _outputs_over(nodes: Iterable[onnx.NodeProto], names: set[str]) -> set[str]:
    return {
        node.output[0]
        for node in nodes
        if node.op_type == "DequantizeLinear" and node.input[0] in names
    }


def _kind(node: onnx.NodeProto | None) -> str:
    return "no node" if node is None else f"{node.op_type} '{node.name}'"


def _no_head(got: str) -> ModelError:
    return ModelError(
        "output 'probabilities'",
        got=got,
        expected="softmax over a linear layer (Gemm, or MatMul and Add) with constant weights, or "
        "over a product with a constant number",
        fix="export the classifier with edgetl",
    )
