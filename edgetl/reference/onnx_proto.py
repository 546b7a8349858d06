"""A user's ONNX file, parsed after every check that needs no run of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from edgetl.backends.onnx_check import MAX_OPSET, MIN_OPSET, check_onnx
from edgetl.backends.onnx_wire import read_onnx
from edgetl.errors import ModelError
from edgetl.extras import extra

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET = 9
SUBJECT = "ONNX model"


def read_proto(model: bytes) -> onnx.ModelProto:
    """Parse a file made elsewhere, after the checks that a backend makes before it loads one.

    Raises:
        ModelError: For bytes that are not ONNX, an opset outside 9 to 26, a graph that a backend
            or the standard refuses, and weights that are NaN, not float32 or quantized already.
    """
    with extra("export"):
        import onnx
    read = read_onnx(model, SUBJECT)
    opset = read.opsets.get("", read.opsets.get("ai.onnx", 0))
    if not OLDEST_OPSET <= opset <= MAX_OPSET:
        raise ModelError(
            SUBJECT,
            got=f"opset {opset}",
            expected=f"{OLDEST_OPSET} to {MAX_OPSET}",
            fix="export it again with opset 20",
        )
    if opset >= MIN_OPSET:
        check_onnx(model, SUBJECT)
    proto = _parsed(model)
    if opset < MIN_OPSET:
        _check_older(proto)
    try:
        onnx.checker.check_model(proto)
    # Text that is not UTF-8 fails in the checker's own message.
    except (onnx.checker.ValidationError, UnicodeDecodeError) as error:
        raise ModelError(
            SUBJECT,
            got=" ".join(str(error).split())[:300],
            expected="a graph that the ONNX standard allows",
            fix="export it again; python -c \"import onnx; onnx.checker.check_model('model.onnx')\""
            " says the same",
        ) from error
    _check_weights(proto.graph)
    return proto


def _parsed(model: bytes) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return onnx.load_from_string(model)
    except DecodeError as error:
        raise ModelError(
            SUBJECT,
            got=str(error),
            expected="an ONNX model in protobuf encoding",
            fix="export the model anew; the file may be cut short or damaged",
        ) from error


def opset_of(proto: onnx.ModelProto) -> int:
    """The version of the ONNX standard's operators."""
    return next(int(item.version) for item in proto.opset_import if item.domain in ("", "ai.onnx"))


def real_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that are no weights: files before IR version 4 list the weights as well."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def dtype_name(element: int) -> str:
    """An element type by numpy's name, such as ``float32``."""
    from onnx import TensorProto

    name = str(TensorProto.DataType.Name(element)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _check_older(proto: onnx.ModelProto) -> None:
    """The same list of operators holds for an older opset, whose number alone is raised."""
    import onnx

    raised = onnx.ModelProto()
    raised.CopyFrom(proto)
    for item in raised.opset_import:
        item.version = max(item.version, MIN_OPSET)
    check_onnx(raised.SerializeToString(), SUBJECT)


def _check_weights(graph: onnx.GraphProto) -> None:
    if any(node.op_type in ("DequantizeLinear", "QLinearConv") for node in graph.node):
        raise ModelError(
            SUBJECT,
            got="a model that is quantized already",
            expected="a float32 model, against which quantized ones are judged",
            fix="give the model that it was quantized from",
        )
    for name, tensor in _tensors(graph):
        _check_weight(name, tensor)


def _tensors(graph: onnx.GraphProto) -> Iterable[tuple[str, onnx.TensorProto]]:
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for node in graph.node:
        yield from ((node.name or node.output[0], a.t) for a in node.attribute if a.HasField("t"))


def _check_weight(name: str, tensor: onnx.TensorProto) -> None:
    from onnx import TensorProto, numpy_helper

    where = f"{SUBJECT}, constant '{name}'"
    if tensor.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        raise ModelError(
            where,
            got=dtype_name(tensor.data_type),
            expected="float32, the reference's precision",
            fix="export the network in float32; edgetl makes the smaller precisions of it",
        )
    if tensor.data_type not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        return
    try:
        numbers = numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise ModelError(
            where,
            got=str(error),
            expected=f"as many numbers as its shape {list(tensor.dims)} says",
            fix="export the model anew; the file may be damaged",
        ) from error
    if np.isnan(numbers).any():
        raise ModelError(
            where,
            got="NaN",
            expected="finite weights",
            fix="export a checkpoint from before the training diverged",
        )
