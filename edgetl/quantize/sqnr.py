"""How much noise each layer of a quantized file adds: the signal-to-quantization-noise ratio.

Both files are laid side by side in one graph, which sums squares as it runs: what is kept is
three numbers a layer, and memory is that of one small batch, however many images there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgetl.backends.ort import OrtBackend
from edgetl.errors import DataError, ModelError
from edgetl.quantize.as_written import opened_as_written
from edgetl.quantize.head import find_head, read_model
from edgetl.spec import Array

_Rounding = tuple[onnx.NodeProto, ...]

_LEAST_RATIO = 1e-20
_SUMS = ("signal", "noise", "accumulated noise")


@dataclass(frozen=True, kw_only=True)
class LayerSqnr:
    """One layer's signal-to-quantization-noise ratio.

    Attributes:
        name: The node in the quantized graph, or its output where it has no name.
        operator: Its operator; a Relu or Clip that became the bounds of the integers is part of
            the layer before it. ``Input`` is the rounding of the network's own input.
        sqnr_db: Of the layer alone, given the FP32 network's activations, in dB: what its rounded
            weights and the rounding of its output add. The lowest is where to look.
        accumulated_db: Of the same output when everything before it is quantized too.
    """

    name: str
    operator: str
    sqnr_db: float
    accumulated_db: float


def layer_sqnr(
    fp32: bytes,
    quantized: bytes,
    inputs: Mapping[str, Array],
    *,
    batch: int = 2,
    threads: int | None = None,
) -> tuple[LayerSqnr, ...]:
    """The SQNR of every layer between preprocessing and head that quantization changes.

    SQNR = 10 log10(Σ x² / Σ (x − x̂)²), x what the FP32 file computes and x̂ what the quantized one
    does (float64 sums over all images). Outputs are matched by the names that both files give
    them, and taken after their rounding. A layer whose output is zero for every image counts as
    −200 dB, which no ratio goes below. The head is in float, and left out: only its temperature
    differs.

    Args:
        fp32: The FP32 ONNX file's bytes.
        quantized: What `edgetl.quantize.qdq.int8_from_fp32` made of it, or of a copy.
        inputs: Each input's name -> [n, ...], as the model takes it; some dozens are enough.
        batch: Samples at once.
        threads: Of ONNX Runtime; None takes every core.

    Returns:
        The layers that add noise, lowest `sqnr_db` first.

    Raises:
        DataError: When there are no samples.
        ModelError: When a file is refused, or the two are not of one network.
        BackendError: When ONNX Runtime fails, or a layer gives NaN or infinity.

    Example:
        >>> from edgetl.quantize.qdq import int8_from_fp32
        >>> text = '''<ir_version: 10, opset_import: ["": 20]>
        ... g (float[b, 2] x) => (float[b, 2] probabilities) <float[2, 2] w = {1, 0.3, 0.1, 1}>
        ... {h = MatMul(x, w) r = Relu(h) z = MatMul(r, w) probabilities = Softmax(z)}'''
        >>> model = onnx.parser.parse_model(text).SerializeToString()
        >>> x = {"x": np.array([[1, -2], [3, 0.3]], np.float32)}
        >>> found = layer_sqnr(model, int8_from_fp32(model, x), x, threads=1)
        >>> sorted(layer.operator for layer in found), found[0].sqnr_db > 30
        (['Input', 'MatMul'], True)
    """
    plain, rounded = read_model(fp32), read_model(quantized)
    _check_pair(plain, rounded)
    places = _places(plain, rounded)
    if not places:
        return ()
    backend = opened_as_written(
        _side_by_side(plain, rounded, places), subject="layers side by side", threads=threads
    )
    try:
        sums = _summed(backend, inputs, places, batch)
    finally:
        backend.close()
    found = (
        LayerSqnr(
            name=place.name,
            operator=place.operator,
            sqnr_db=_decibels(signal, noise),
            accumulated_db=_decibels(signal, accumulated),
        )
        for place, (signal, noise, accumulated) in zip(places, sums, strict=True)
        # Rounding that changes nothing, such as of a mask: no noise has no ratio.
        if noise > 0 and accumulated > 0
    )
    return tuple(sorted(found, key=lambda layer: layer.sqnr_db))


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where both graphs compute the same value.

    Attributes:
        tensor: Its name in both.
        endpoint: What readers in the quantized graph take: the tensor after its rounding.
        rounding: The QuantizeLinear and DequantizeLinear after it, if any.
    """

    tensor: str
    endpoint: str
    rounding: _Rounding
    name: str
    operator: str


def _decibels(signal: float, noise: float) -> float:
    return 10 * math.log10(max(signal / noise, _LEAST_RATIO))


def _check_pair(plain: onnx.ModelProto, rounded: onnx.ModelProto) -> None:
    facts = [
        (
            sorted(value.name for value in model.graph.input),
            {one.domain: one.version for one in model.opset_import}.get("", 0),
        )
        for model in (plain, rounded)
    ]
    if facts[0] != facts[1]:
        raise ModelError(
            "quantized ONNX model",
            got=f"the inputs {', '.join(facts[1][0])} and opset {facts[1][1]}",
            expected=f"the inputs {', '.join(facts[0][0])} and opset {facts[0][1]}, as the FP32 "
            "model that it was made of",
            fix="compare a quantized model with its own FP32 model",
        )


def _places(plain: onnx.ModelProto, rounded: onnx.ModelProto) -> list[_Place]:
    """What quantization changes, in the order of the quantized graph."""
    head = {name for node in find_head(plain.graph).nodes for name in node.output}
    compared = (_shared(plain.graph, rounded.graph) & _floats(plain)) - head
    roundings = _roundings(rounded.graph)
    exact = _exact(plain.graph, rounded.graph).keys() | _constants(rounded.graph) | {""}
    found = [
        _place(tensor, roundings, name=tensor, operator="Input")
        for tensor in _given(rounded.graph)
        if tensor in compared and tensor in roundings
    ]
    for node in rounded.graph.node:
        changed = not exact.issuperset(node.input)
        found += [
            _place(tensor, roundings, name=node.name or tensor, operator=node.op_type)
            for tensor in node.output
            if tensor in compared and (changed or tensor in roundings)
        ]
    return found


def _place(
    tensor: str, roundings: Mapping[str, Sequence[_Rounding]], *, name: str, operator: str
) -> _Place:
    rounding = roundings.get(tensor, [()])[0]
    endpoint = rounding[-1].output[0] if rounding else tensor
    return _Place(tensor=tensor, endpoint=endpoint, rounding=rounding, name=name, operator=operator)


def _given(graph: onnx.GraphProto) -> list[str]:
    constants = _constants(graph)
    return [value.name for value in graph.input if value.name not in constants]


def _constants(graph: onnx.GraphProto) -> set[str]:
    return {tensor.name for tensor in graph.initializer}


def _shared(plain: onnx.GraphProto, rounded: onnx.GraphProto) -> set[str]:
    """The values that both graphs compute or are given, by name."""
    mine, theirs = (
        {name for node in graph.node for name in node.output if name}.union(_given(graph))
        for graph in (plain, rounded)
    )
    return mine & theirs


def _roundings(graph: onnx.GraphProto) -> dict[str, list[_Rounding]]:
    """Each tensor -> the pairs of QuantizeLinear and DequantizeLinear that round it."""
    quantizers = {node.output[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    found: dict[str, list[_Rounding]] = {}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in quantizers:
            quantizer = quantizers[node.input[0]]
            found.setdefault(quantizer.input[0], []).append((quantizer, node))
    return found


def _exact(plain: onnx.GraphProto, rounded: onnx.GraphProto) -> dict[str, str]:
    """A name in the quantized graph -> the FP32 graph's tensor that it stands for."""
    shared, roundings = _shared(plain, rounded), _roundings(rounded)
    ends = {pair[-1].output[0]: name for name in shared for pair in roundings.get(name, ())}
    return {name: name for name in shared} | ends


def _floats(plain: onnx.ModelProto) -> set[str]:
    inferred = onnx.shape_inference.infer_shapes(plain).graph
    return {
        value.name
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }


def _side_by_side(
    plain: onnx.ModelProto, rounded: onnx.ModelProto, places: Sequence[_Place]
) -> bytes:
    """One model that computes the FP32 graph, the quantized one, and each quantized layer alone.

    In the last, every layer reads the FP32 graph's activations.
    """
    given, constants = set(_given(rounded.graph)), _constants(rounded.graph)
    exact = _exact(plain.graph, rounded.graph)

    def whole(name: str) -> str:
        return name if name in given or not name else f"whole {name}"

    def alone(name: str) -> str:
        return whole(name) if name in constants or not name else exact.get(name, f"alone {name}")

    def made_alone(name: str) -> str:
        return name and f"alone {name}"

    nodes = list(plain.graph.node)
    for node in rounded.graph.node:
        nodes.append(_renamed(node, "whole", whole, whole))
        nodes.append(_renamed(node, "alone", alone, made_alone))
    for place in places:
        end = place.tensor if place.operator == "Input" else made_alone(place.tensor)
        for node in place.rounding:
            # Of what the layer alone gives, where its readers above take the FP32 activation.
            nodes.append(_renamed(node, "rounded", alone, "rounded {}".format))
            nodes[-1].input[0] = end
            end = nodes[-1].output[0]
        nodes += _measures(place.tensor, end, whole(place.endpoint))
    return _model(plain, rounded, _needed(nodes, places), places)


def _renamed(
    node: onnx.NodeProto, where: str, read: Callable[[str], str], made: Callable[[str], str]
) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = f"{where} {node.name}" if node.name else ""
    copy.input[:] = [read(name) for name in node.input]
    copy.output[:] = [made(name) for name in node.output]
    return copy


def _measures(tensor: str, alone: str, whole: str) -> Iterator[onnx.NodeProto]:
    """Sums of squares, in float64: a float32 sum over a large layer loses digits."""
    signal, *noises = (_sum_of(kind, tensor) for kind in _SUMS)
    yield helper.make_node("Cast", [tensor], [f"{signal}, wide"], to=TensorProto.DOUBLE)
    yield helper.make_node("ReduceSumSquare", [f"{signal}, wide"], [signal], keepdims=0)
    for noise, other in zip(noises, (alone, whole), strict=True):
        yield helper.make_node("Sub", [tensor, other], [f"{noise}, narrow"])
        yield helper.make_node(
            "Cast", [f"{noise}, narrow"], [f"{noise}, wide"], to=TensorProto.DOUBLE
        )
        yield helper.make_node("ReduceSumSquare", [f"{noise}, wide"], [noise], keepdims=0)


def _sum_of(kind: str, tensor: str) -> str:
    return f"{kind} of {tensor}"


def _needed(nodes: Sequence[onnx.NodeProto], places: Sequence[_Place]) -> list[onnx.NodeProto]:
    """Without what no sum is made of: unoptimised, ONNX Runtime would run it too."""
    needed = {_sum_of(kind, place.tensor) for place in places for kind in _SUMS}
    kept = []
    for node in reversed(nodes):
        if not needed.isdisjoint(node.output):
            needed.update(node.input)
            kept.append(node)
    return kept[::-1]


def _model(
    plain: onnx.ModelProto,
    rounded: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    places: Sequence[_Place],
) -> bytes:
    read = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in plain.graph.initializer if tensor.name in read]
    for tensor in rounded.graph.initializer:
        if f"whole {tensor.name}" in read:
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = f"whole {tensor.name}"
            constants.append(copy)
    given = set(_given(plain.graph))
    graph = helper.make_graph(
        nodes,
        "layers side by side",
        [value for value in plain.graph.input if value.name in given],
        [
            helper.make_tensor_value_info(_sum_of(kind, place.tensor), TensorProto.DOUBLE, [])
            for place in places
            for kind in _SUMS
        ],
        initializer=constants,
    )
    domains = {one.domain: one.version for one in (*rounded.opset_import, *plain.opset_import)}
    model = helper.make_model(
        graph,
        ir_version=max(plain.ir_version, rounded.ir_version),
        opset_imports=[helper.make_opsetid(name, version) for name, version in domains.items()],
    )
    data: bytes = model.SerializeToString()
    return data


def _summed(
    backend: OrtBackend, inputs: Mapping[str, Array], places: Sequence[_Place], batch: int
) -> NDArray[np.float64]:
    """Each place's sums of squares over all samples, [places, 3]."""
    count = min((len(array) for array in inputs.values()), default=0)
    if count == 0:
        raise DataError(
            "samples for the SQNR", got="none", expected="at least one", fix="pass some real inputs"
        )
    sums = np.zeros((len(places), len(_SUMS)))
    for start in range(0, count, batch):
        answers = backend.run(
            {name: array[start : start + batch] for name, array in inputs.items()}
        )
        sums += [[answers[_sum_of(kind, place.tensor)] for kind in _SUMS] for place in places]
    return sums
