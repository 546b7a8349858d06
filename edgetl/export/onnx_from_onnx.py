"""One FP32 ONNX file as edgetl exports it, from an ONNX file that another tool made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
import onnx_ir as ir
from onnx import version_converter
from onnx_ir.passes.common import (
    ClearMetadataAndDocStringPass,
    IdentityEliminationPass,
    LiftConstantsToInitializersPass,
    RemoveInitializersFromInputsPass,
    RemoveUnusedNodesPass,
    RemoveUnusedOpsetsPass,
    TopologicalSortPass,
)

from edgetl.backends.onnx_check import MAX_OPSET
from edgetl.errors import ModelError
from edgetl.export.onnx_edges import keep_names_free, put_head, put_preprocessing
from edgetl.export.onnx_free_batch import free_batch
from edgetl.export.onnx_proof import probe, prove
from edgetl.reference.description import check_head
from edgetl.reference.onnx_file import (
    OnnxDescription,
    OnnxEnding,
    OnnxValue,
    Output,
    describe_onnx,
    describe_proto,
    shape_ops_back,
)
from edgetl.reference.onnx_inputs import InputPart, input_parts
from edgetl.reference.onnx_network import OnnxNetwork
from edgetl.reference.onnx_proto import SUBJECT, opset_of, read_proto
from edgetl.spec import ClassifierInput, Head
from edgetl.version import __version__

__all__ = ["OnnxDescription", "OnnxEnding", "OnnxValue", "describe_onnx", "onnx_from_onnx"]

_OLDEST_OPSET = 18
_IR_VERSION = 10
_PROTOBUF_LIMIT = (1 << 31) - 1


def onnx_from_onnx(
    model: bytes,
    *,
    input: ClassifierInput,
    head: Head,
    opset: int = 20,
    logits: bool = False,
    output: Output | None = None,
) -> bytes:
    """Make of any tool's ONNX classifier the file that `onnx_from_torch` makes of a network.

    The graph takes `input.tensors` with a free batch, and answers ``probabilities`` float32
    [batch, classes] and, when asked, ``logits`` (after division by the temperature). The
    temperature is folded into a Gemm or MatMul that stands right before the softmax, and is one
    multiplication elsewhere. The names inside are the file's own. The result is run: its answers
    to a batch must be its answers to the single inputs, and those of `model` itself. The same
    arguments give the same bytes.

    Args:
        model: The bytes of a float32 ONNX classifier, opset 9 to 26, with a fixed or a free
            batch, images in NCHW or NHWC; it ends in logits, softmax, log-softmax, or something
            that `output` says.
        input: What the graph takes.
        head: The classes and the temperature; `layer` is not read.
        opset: What a file older than opset 18 is converted to; a newer one keeps its own.
        logits: Also answer the logits.
        output: What `model` answers, where its last operator leaves that open.

    Raises:
        ModelError: When the file is refused (see `describe_onnx`), does not take `input`, has
            not one answer for each class, cannot be converted or take a free batch, or would
            pass 2 GiB.

    Example:
        >>> from edgetl.spec import TensorInput
        >>> text = '''<ir_version: 8, opset_import: ["": 13]>
        ... g (float[1, 2] x) => (float[1, 2] y) <float[2, 2] w = {1, 2, 3, 4}>
        ... {z = MatMul(x, w) y = Softmax(z)}'''
        >>> made = onnx_from_onnx(
        ...     onnx.parser.parse_model(text).SerializeToString(),
        ...     input=TensorInput(shape=(2,)), head=Head(layer="", classes=("a", "b")))
        >>> [node.op_type for node in onnx.load_from_string(made).graph.node]
        ['MatMul', 'Softmax']
    """
    _check_head(head)
    _check_opset(opset)
    proto = read_proto(model)
    parts = input_parts(describe_proto(proto, output=output), input)
    original = OnnxNetwork(model, input=input, output=output, threads=1)
    try:
        # Before anything is rewritten: a file that cannot answer at all is said to be that.
        asked = probe(original, parts, classes=len(head.classes))
    finally:
        original.close()
    made, value = _rewritten(_modern(proto, opset), parts, head=head, output=output)
    own_name = value.name
    value.name = "logits"
    made.graph.outputs.append(value)
    answering_logits = _serialized(made)
    prove(answering_logits, asked, temperature=head.temperature)
    if logits:
        return answering_logits
    made.graph.outputs.pop()
    value.name = own_name
    return _serialized(made)


def _check_head(head: Head) -> None:
    try:
        check_head(head)
    except ValueError as error:
        raise ModelError(
            "head",
            got=str(error),
            expected="at least two distinct printable labels and a temperature above 0",
            fix="mend the classes or the temperature",
        ) from error


def _check_opset(opset: int) -> None:
    newest = min(onnx.defs.onnx_opset_version(), MAX_OPSET)
    if not _OLDEST_OPSET <= opset <= newest:
        raise ModelError(
            "opset",
            got=str(opset),
            expected=f"{_OLDEST_OPSET} to {newest}",
            fix="take 20, which ONNX Runtime, OpenVINO and TensorRT all read",
        )


def _modern(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The same graph with operators of opset 18 or later."""
    if opset_of(proto) >= _OLDEST_OPSET:
        return proto
    try:
        return version_converter.convert_version(proto, opset)
    # The converter is C++ and raises what it likes.
    except Exception as error:
        raise ModelError(
            SUBJECT,
            got=f"opset {opset_of(proto)}, and: {' '.join(str(error).split())[:300]}",
            expected=f"operators that ONNX can convert to opset {opset}",
            fix=f"export it again with opset {opset}",
        ) from error


def _rewritten(
    proto: onnx.ModelProto, parts: Sequence[InputPart], *, head: Head, output: Output | None
) -> tuple[ir.Model, ir.Value]:
    """The model with both edges, and what its softmax is taken of."""
    description = describe_proto(proto, output=output)
    known = _known(proto)
    names = _logits(proto, description, known, len(head.classes))
    model = ir.from_proto(proto)
    graph = model.graph
    _apply(
        model,
        RemoveInitializersFromInputsPass(),
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
    )
    values = {value.name: value for node in graph for value in node.outputs}
    logits = [values[name] for name in names]
    _pass_idle_casts(graph, {name for name, tensor in known.items() if _is_float(tensor)})
    reserved = {"probabilities", "logits", *(part.name for part in parts)}
    keep_names_free(graph, reserved)
    free_batch(graph, parts[0].batch)
    put_preprocessing(graph, parts)
    value = put_head(graph, logits, description.ending, temperature=head.temperature)
    for answer in (value, *graph.outputs):
        answer.type = ir.TensorType(ir.DataType.FLOAT)
        answer.shape = ir.Shape(["batch", len(head.classes)])
    _apply(
        model,
        IdentityEliminationPass(),
        RemoveUnusedNodesPass(),
        TopologicalSortPass(),
        RemoveUnusedOpsetsPass(),
        ClearMetadataAndDocStringPass(),
    )
    return model, value


def _apply(model: ir.Model, *passes: ir.passes.InPlacePass) -> None:
    for tidy in passes:
        tidy(model)


def _known(proto: onnx.ModelProto) -> dict[str, onnx.TypeProto.Tensor]:
    """Dtypes and shapes, as far as the graph tells them."""
    graph = onnx.shape_inference.infer_shapes(proto).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: value.type.tensor_type for value in values}


def _logits(
    proto: onnx.ModelProto,
    description: OnnxDescription,
    known: Mapping[str, onnx.TypeProto.Tensor],
    classes: int,
) -> list[str]:
    """The tensors that hold the logits as float32 [batch, classes], the answer's end first."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    chain = shape_ops_back(description.logits, makers)
    if chain[0] in known and not _is_float(known[chain[0]]):
        raise ModelError(
            f"{SUBJECT}, tensor '{chain[0]}'",
            got="logits that are not float32",
            expected="float32",
            fix="convert the network to float32 before its export",
        )
    fit = [name for name in chain if name in known and _is_answer(known[name], classes)]
    return fit or chain[:1]


def _is_answer(tensor: onnx.TypeProto.Tensor, classes: int) -> bool:
    sizes = tensor.shape.dim
    return _is_float(tensor) and len(sizes) == 2 and bool(sizes[1].dim_value == classes)


def _is_float(tensor: onnx.TypeProto.Tensor) -> bool:
    return bool(tensor.elem_type == onnx.TensorProto.FLOAT)


def _pass_idle_casts(graph: ir.Graph, floats: set[str]) -> None:
    """Let readers of a Cast from float32 to float32 read what it casts, in place.

    Keras writes one after every operator; between a layer and its bias or activation they keep
    runtimes from fusing these.
    """
    for node in tuple(graph):
        source = node.inputs[0] if node.op_type == "Cast" else None
        if source is None or node.attributes.get_int("to") != ir.DataType.FLOAT:
            continue
        if source.name in floats:
            node.outputs[0].replace_all_uses_with(source, replace_graph_outputs=True)


def _serialized(model: ir.Model) -> bytes:
    model.producer_name = "edgetl"
    model.producer_version = __version__
    model.ir_version = _IR_VERSION
    model.domain = model.doc_string = None
    model.model_version = None
    model.graph.name = "classifier"
    proto = ir.to_proto(model)
    if proto.ByteSize() > _PROTOBUF_LIMIT:
        raise ModelError(
            SUBJECT,
            got=f"{proto.ByteSize()} bytes",
            expected="less than 2 GiB, the limit of a single file",
            fix="take a smaller network",
        )
    data: bytes = proto.SerializeToString(deterministic=True)
    onnx.checker.check_model(data, full_check=True)
    return data
