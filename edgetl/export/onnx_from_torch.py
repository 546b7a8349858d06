"""One FP32 ONNX file from a PyTorch network, the same bytes each time."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import (
    ClearMetadataAndDocStringPass,
    RemoveUnusedNodesPass,
    RemoveUnusedOpsetsPass,
    TopologicalSortPass,
)
from torch import nn

from edgetl.errors import ModelError
from edgetl.export.softmax_head import ClassifierGraph
from edgetl.spec import ClassifierInput, Head, TensorSpec
from edgetl.version import __version__

_SCOPES = "pkg.torch.onnx.name_scopes"
_NETWORK = "network."
_PROTOBUF_LIMIT = (1 << 31) - 1


def onnx_from_torch(
    network: nn.Module,
    *,
    input: ClassifierInput,
    head: Head,
    opset: int = 20,
    logits: bool = False,
) -> bytes:
    """Export a classifier as one ONNX file with its preprocessing and softmax head inside.

    The graph takes `input.tensors` with a free batch, and answers ``probabilities`` float32
    [batch, classes] and, when asked, ``logits`` (after division by the temperature). It carries
    no source path, stack trace, doc string or external data, and its names come from the
    network's own layers: the same weights give the same bytes.

    Args:
        network: Float NCHW images, or the tensor inputs, to [batch, classes]. It may end in
            softmax or log-softmax, which is not applied twice.
        input: What the graph takes.
        head: The linear layer's dotted name, or ``"output"``, the classes, the temperature to
            fold in: into the layer where it gives the logits, and into one multiplication after
            the network otherwise.
        opset: Of the ONNX standard, 18 or later.
        logits: Also answer the logits.

    Raises:
        ModelError: When the head is not as described, the opset is too old, the exporter cannot
            express the network, or the file would pass 2 GiB.

    Example:
        >>> from edgetl.spec import TensorInput
        >>> head = Head(layer="", classes=("a", "b"))
        >>> model = onnx_from_torch(nn.Linear(4, 2), input=TensorInput(shape=(4,)), head=head)
        >>> [node.op_type for node in onnx.load_from_string(model).graph.node]
        ['Gemm', 'Softmax']
    """
    _check_opset(opset)
    graph = ClassifierGraph(network, input=input, head=head, logits=logits).eval()
    outputs = ["probabilities", "logits"] if logits else ["probabilities"]
    model = _exported(graph, input.tensors, outputs, opset)
    _read_input_through_cast(model.graph)
    if not graph.answer.folds:
        _keep_factor(model.graph)
    _name_after_layers(model.graph)
    for tidy in (
        RemoveUnusedNodesPass(),
        TopologicalSortPass(),
        RemoveUnusedOpsetsPass(),
        ClearMetadataAndDocStringPass(),
    ):
        tidy(model)
    for value in _values(model.graph):
        value.metadata_props.clear()
    return _serialized(model)


def _check_opset(opset: int) -> None:
    newest = onnx.defs.onnx_opset_version()
    if not 18 <= opset <= newest:
        raise ModelError(
            "opset",
            got=str(opset),
            expected=f"18 to {newest}",
            fix="take 20, which ONNX Runtime, OpenVINO and TensorRT all read",
        )


def _exported(
    graph: nn.Module, tensors: Sequence[TensorSpec], outputs: list[str], opset: int
) -> ir.Model:
    # A batch of two: one of size one would be specialised to a constant.
    examples = tuple(
        torch.zeros(
            [2 if size is None else size for size in tensor.shape],
            dtype=getattr(torch, tensor.dtype),
        )
        for tensor in tensors
    )
    batch = torch.export.Dim("batch")
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                graph,
                examples,
                dynamo=True,
                opset_version=opset,
                input_names=[tensor.name for tensor in tensors],
                output_names=outputs,
                dynamic_shapes={"batches": tuple({0: batch} for _ in tensors)},
                external_data=False,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ModelError(
            "export to ONNX",
            got=_first_cause(error),
            expected="a network that torch.export can trace with a free batch size",
            fix="take data-dependent Python branches and fixed batch sizes out of its forward()",
        ) from error
    if program is None:
        raise ModelError(
            "export to ONNX",
            got="no program",
            expected="an ONNX program from torch.onnx.export",
            fix="install the torch version of the lock file",
        )
    return program.model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints advice and logs warnings that are not about the user's network."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]


def _read_input_through_cast(graph: ir.Graph) -> None:
    """Let a Cast be the only reader of an integer input, as TensorRT needs it."""
    image = graph.inputs[0]
    cast = next((node for node in image.consumers() if node.op_type == "Cast"), None)
    if cast is None:
        return
    for node, index in tuple(image.uses()):
        if node is not cast:
            node.replace_input_with(index, cast.outputs[0])


def _keep_factor(graph: ir.Graph) -> None:
    """Let the logits be a product with one number, also where the exporter saw that it was 1.

    Quantization scales that number when it fits the temperature again.
    """
    softmax = graph.outputs[0].producer()
    assert softmax is not None and softmax.op_type == "Softmax"
    raw = softmax.inputs[0]
    assert raw is not None
    last = raw.producer()
    if last is not None and last.op_type == "Mul" and any(_is_number(v) for v in last.inputs):
        return
    number = ir.Value(
        name="temperature.factor",
        shape=ir.Shape([]),
        type=ir.TensorType(ir.DataType.FLOAT),
        const_value=ir.tensor(np.array(1, np.float32)),
    )
    graph.register_initializer(number)
    product = ir.Node("", "Mul", [raw, number])
    scaled = product.outputs[0]
    scaled.type, scaled.shape = raw.type, raw.shape
    graph.insert_before(softmax, product)
    softmax.replace_input_with(0, scaled)
    for index, output in enumerate(graph.outputs):
        if output is raw:
            raw.name, scaled.name = f"{raw.name}.raw", raw.name
            graph.outputs[index] = scaled


def _is_number(value: ir.Value | None) -> bool:
    if value is None or not value.is_initializer() or value.shape is None:
        return False
    return math.prod(value.shape.numpy()) == 1


def _name_after_layers(graph: ir.Graph) -> None:
    """Replace the exporter's counters by the names of the network's layers."""
    fixed = {value.name for value in (*graph.inputs, *graph.outputs)}
    taken: Counter[str] = Counter()

    def unique(name: str) -> str:
        taken[name] += 1
        return name if taken[name] == 1 else f"{name}_{taken[name]}"

    for node in graph.all_nodes():
        node.name = unique(f"{_layer(node)}/{node.op_type}")
        for index, value in enumerate(node.outputs):
            if value.name not in fixed:
                value.name = f"{node.name}.{index}"
    for count, (name, value) in enumerate(list(graph.initializers.items())):
        own = name.startswith(_NETWORK) or "." in name
        value.name = name.removeprefix(_NETWORK) if own else f"constant_{count}"


def _layer(node: ir.Node) -> str:
    """The dotted name of the layer that a node came from, relative to the network."""
    scopes = [scope for scope in _scopes(node) if scope.startswith(_NETWORK)]
    return scopes[-1].removeprefix(_NETWORK) if scopes else "edgetl"


def _scopes(node: ir.Node) -> list[str]:
    text = node.metadata_props.get(_SCOPES, "[]").strip("[]")
    names = [part.strip().strip("'\"") for part in text.split(",")]
    # The innermost entry is the traced operation, not a layer.
    return names[:-1]


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph.all_nodes():
        yield from node.outputs


def _serialized(model: ir.Model) -> bytes:
    model.producer_name = "edgetl"
    model.producer_version = __version__
    model.graph.name = "classifier"
    proto = ir.to_proto(model)
    if proto.ByteSize() > _PROTOBUF_LIMIT:
        raise ModelError(
            "ONNX file",
            got=f"{proto.ByteSize()} bytes",
            expected="less than 2 GiB, the limit of a single file",
            fix="take a smaller network",
        )
    data: bytes = proto.SerializeToString(deterministic=True)
    onnx.checker.check_model(data, full_check=True)
    return data
