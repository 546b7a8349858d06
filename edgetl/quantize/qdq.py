"""A static INT8 graph in QDQ form from an FP32 one, with its head and preprocessing in float."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, cast

import numpy as np
import onnx

from edgetl.backends.ort import import_onnxruntime
from edgetl.errors import ModelError
from edgetl.extras import extra
from edgetl.quantize.head import LAYER_OPS, body_nodes, read_model
from edgetl.quantize.observe import observe
from edgetl.quantize.ranges import Range
from edgetl.spec import Array
from edgetl.version import __version__

Target = Literal["u8s8", "s8s8"]

# Layers, and what a runtime can fuse into them or run on their integers. Relu and Clip become
# the bounds of the integers. Squeeze-excite and hard-swish stay in float: ONNX Runtime has no
# integer kernel for them, and their rounding costs accuracy.
_FUSIBLE_OPS = LAYER_OPS | {"MaxPool", "Relu", "Clip"}
_ADD = "Add"


def int8_from_fp32(
    model: bytes,
    ptq_samples: Mapping[str, Array],
    *,
    target: Target = "u8s8",
    batch: int = 8,
    threads: int | None = None,
) -> bytes:
    """Quantize a classifier statically: INT8 weights per channel, 8-bit activations by min-max.

    The last linear layer and the softmax stay in FP32, because an 8-bit softmax does not sum to
    1 and 8-bit logits cost likelihood; so does the preprocessing before the first layer. The
    same model, samples and threads give the same bytes.

    Args:
        model: The FP32 ONNX file's bytes; batch norms that are left in it are folded first.
        ptq_samples: Each input's name -> uint8 or float32 [n, ...], as the model takes it; some
            hundreds, from the train split.
        target: Activations and weights: "u8s8" (unsigned, asymmetric activations) for x86, and
            "s8s8" (both signed, symmetric) for ARM and NVIDIA.
        batch: Samples at once in the observation run.
        threads: Of the observation run; None takes every core.

    Returns:
        An ONNX file's bytes, with QuantizeLinear and DequantizeLinear around what is quantized.

    Raises:
        DataError: For no samples, a NaN in them, or samples that are all alike.
        SpecError: For samples of another dtype or shape.
        ModelError: For a model without a softmax head, without a layer besides it, or one that
            is quantized already.

    Example:
        >>> text = '''<ir_version: 10, opset_import: ["": 20]>
        ... g (float[b, 2] x) => (float[b, 2] probabilities) <float[2, 2] w = {1, 0, 0, 1}>
        ... {h = MatMul(x, w) r = Relu(h) z = MatMul(r, w) probabilities = Softmax(z)}'''
        >>> model = onnx.parser.parse_model(text).SerializeToString()
        >>> quantized = int8_from_fp32(model, {"x": np.array([[1, -2], [3, 0]], np.float32)})
        >>> [node.op_type for node in onnx.load_from_string(quantized).graph.node][-2:]
        ['MatMul', 'Softmax']
    """
    proto = _prepared(model)
    nodes = _nodes_to_quantize(proto.graph)
    ranges = observe(
        proto.SerializeToString(),
        ptq_samples,
        tensors=_activations(proto.graph, nodes),
        batch=batch,
        threads=threads,
    )
    return _serialized(_with_qdq(proto, nodes, ranges, target))


def _prepared(model: bytes) -> onnx.ModelProto:
    proto = read_model(model)
    operators = {node.op_type for node in proto.graph.node}
    if "DequantizeLinear" in operators:
        raise ModelError(
            "ONNX model",
            got="a model that is quantized already",
            expected="an FP32 model",
            fix="quantize the model that the export stage wrote",
        )
    if "BatchNormalization" in operators:
        proto = _without_batch_norm(proto)
    for index, node in enumerate(proto.graph.node):
        # The quantizer chooses nodes by name.
        node.name = node.name or f"{node.op_type}_{index}"
    return onnx.shape_inference.infer_shapes(proto, strict_mode=True)


def _without_batch_norm(proto: onnx.ModelProto) -> onnx.ModelProto:
    # Seldom needed, as edgetl's own export folds them, and slow to import.
    with extra("export"):
        from onnxscript import rewriter
        from onnxscript.rewriter.rules import common as rules

    folded = rewriter.rewrite(
        proto,
        pattern_rewrite_rules=[
            rules.fuse_batchnorm_into_conv_rule,
            rules.fuse_batchnorm_into_conv_transpose_rule,
            rules.fuse_batchnorm_into_gemm_rule,
        ],
    )
    return cast(onnx.ModelProto, folded)


def _nodes_to_quantize(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    body = body_nodes(graph)
    if not any(node.op_type in LAYER_OPS for node in body):
        raise ModelError(
            "ONNX model",
            got="no convolution or matrix product but the head's",
            expected="a layer besides the head, which stays in float",
            fix="keep this classifier in FP32",
        )
    convolved = {node.output[0] for node in body if node.op_type == "Conv"}
    return [
        node
        for node in body
        if node.op_type in _FUSIBLE_OPS
        # A convolution absorbs the addition of a shortcut. A transformer's additions are of
        # biases and of the residual stream, which a layer norm in float reads: measured, they
        # are faster in float.
        or (node.op_type == _ADD and not convolved.isdisjoint(node.input))
    ]


def _activations(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> list[str]:
    floats = {
        value.name
        for value in (*graph.value_info, *graph.input, *graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    } - {tensor.name for tensor in graph.initializer}
    names = (name for node in nodes for name in (*node.input, *node.output))
    return [name for name in dict.fromkeys(names) if name in floats]


def _with_qdq(
    proto: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    ranges: Mapping[str, Range],
    target: Target,
) -> onnx.ModelProto:
    import_onnxruntime()
    with extra("export"):
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
        from onnxruntime.quantization.quant_utils import add_infer_metadata

    # Without this mark the quantizer would write the model to a file and infer its shapes again.
    add_infer_metadata(proto)
    signed = target == "s8s8"
    with _quiet_root_logger():
        quantizer = QDQQuantizer(
            proto,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8 if signed else QuantType.QUInt8,
            tensors_range=TensorsData(
                CalibrationMethod.MinMax,
                {
                    name: (np.float32(found.low), np.float32(found.high))
                    for name, found in ranges.items()
                },
            ),
            nodes_to_quantize=[node.name for node in nodes],
            nodes_to_exclude=[],
            op_types_to_quantize=sorted({node.op_type for node in nodes}),
            extra_options={
                "ActivationSymmetric": signed,
                "WeightSymmetric": True,
                # What reads a matrix product is in float anyway: a bias, a softmax. Between
                # quantized values ONNX Runtime would fuse an attention's softmax into a kernel
                # whose results wrap around, a probability over the observed range to nearly 0.
                "OpTypesToExcludeOutputQuantization": ["MatMul"],
            },
        )
        quantizer.quantize_model()
        # New nodes are appended; where a layer reads one of them the order has to be mended.
        quantizer.model.topological_sort()
        return cast(onnx.ModelProto, quantizer.model.model)


@contextlib.contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """The quantizer logs to the root logger, which would also be configured for good by that."""
    root = logging.getLogger()
    handler = logging.NullHandler()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


def _serialized(proto: onnx.ModelProto) -> bytes:
    del proto.metadata_props[:]
    proto.producer_name = "edgetl"
    proto.producer_version = __version__
    data: bytes = proto.SerializeToString(deterministic=True)
    onnx.checker.check_model(data)
    return data
