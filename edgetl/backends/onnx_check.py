"""Refuses an ONNX model that could reach outside itself, before any runtime sees it.

What is allowed is listed; everything else is refused and the node is named. This keeps accidents
and simple attacks out. It does not make an untrusted model safe: sign bundles, and sandbox.
"""

from __future__ import annotations

import math

from edgetl.backends.onnx_wire import OnnxModel, OnnxNode, OnnxTensor, read_onnx
from edgetl.errors import ModelError

MIN_OPSET = 13
MAX_OPSET = 26
MAX_CONSTANT_ELEMENTS = 1 << 28

# Tensor operators of the standard domain that depend on their inputs alone. Left out are control
# flow (it nests graphs and need not end), random numbers, strings, sequences and image decoding.
ALLOWED_OPERATORS = frozenset(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool
    BatchNormalization BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast
    CastLike Ceil Celu CenterCropPad Clip Concat Constant ConstantOfShape Conv ConvInteger
    ConvTranspose Cos Cosh CumSum DFT DepthToSpace DequantizeLinear Div Dropout
    DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather
    GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater
    GreaterOrEqual GridSample GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish
    Hardmax Identity InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less
    LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool Mean
    MeanVarianceNormalization MelWeightMatrix Min Mish Mod Mul Neg Not OneHot Or PRelu Pad Pow
    QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN Range Reciprocal ReduceL1
    ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Resize ReverseSequence RotaryEmbedding Round STFT ScatterElements
    ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign
    SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK Transpose
    Trilu Unsqueeze Where Xor
    """.split()  # noqa: SIM905
)

# Operators whose output is as large as one of their inputs says: which input.
_SIZED_BY = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1}


def check_onnx(model: bytes, subject: str = "ONNX model") -> OnnxModel:
    """Refuse a model that uses anything but listed operators on data inside the file.

    Args:
        model: The bytes of an ONNX file.
        subject: What to call the model in an error.

    Returns:
        The model's structure, as far as it was read.

    Raises:
        ModelError: For bytes that are not ONNX, an opset outside 13..26, an operator or a domain
            that is not listed, nested graphs, functions, training parts, external data, or a
            constant above 2**28 elements that a few bytes of the file ask for.

    Example:
        >>> check_onnx(b"not a model")
        Traceback (most recent call last):
        ...
        edgetl.errors.ModelError: ONNX model: got ...
    """
    read = read_onnx(model, subject)
    opset = read.opsets.get("", read.opsets.get("ai.onnx", 0))
    if not MIN_OPSET <= opset <= MAX_OPSET:
        raise _refused(
            subject, f"opset {opset}", f"{MIN_OPSET} to {MAX_OPSET}", "export with opset 20"
        )
    if not read.nodes:
        raise _refused(subject, "no operators", "a graph of operators", _EXPORT_ANEW)
    if read.functions or read.trainings:
        kind = "functions of its own" if read.functions else "a training part"
        raise _refused(subject, kind, "one flat graph", _EXPORT_ANEW)
    for tensor in read.initializers:
        _check_tensor(tensor, f"{subject}, initializer '{tensor.name}'")
    constants = {tensor.name: tensor for tensor in read.initializers}
    for node in read.nodes:
        _check_node(node, constants, subject)
    return read


_EXPORT_ANEW = "export the model anew with edgetl, or with torch.onnx.export"


def _check_node(node: OnnxNode, constants: dict[str, OnnxTensor], subject: str) -> None:
    where = f"{subject}, node '{node.name or ''.join(node.outputs[:1])}'"
    if node.domain not in ("", "ai.onnx"):
        raise _refused(
            where,
            f"operator {node.op} of the domain '{node.domain}'",
            "operators of the standard domain",
            _EXPORT_ANEW,
        )
    if node.op not in ALLOWED_OPERATORS or node.subgraphs:
        raise _refused(
            where, f"operator {node.op}", "a listed tensor operator of ONNX", _EXPORT_ANEW
        )
    for tensor in node.tensors:
        _check_tensor(tensor, where)
        if node.op == "Constant":
            constants.update(dict.fromkeys(node.outputs, tensor))
    position = _SIZED_BY.get(node.op)
    if position is not None and position < len(node.inputs):
        sizes = constants.get(node.inputs[position])
        _check_size(sizes.int64_values() if sizes else None, where)


def _check_tensor(tensor: OnnxTensor, where: str) -> None:
    if tensor.external:
        raise _refused(
            where,
            "data in another file",
            "every weight inside the model file",
            "save the model as a single file (save_as_external_data=False)",
        )


def _check_size(sizes: tuple[int, ...] | None, where: str) -> None:
    if sizes is None:
        return
    elements = math.prod(max(size, 1) for size in sizes)
    if elements > MAX_CONSTANT_ELEMENTS:
        raise _refused(
            where,
            f"a constant of {elements} elements",
            f"at most {MAX_CONSTANT_ELEMENTS}",
            _EXPORT_ANEW,
        )


def _refused(subject: str, got: str, expected: str, fix: str) -> ModelError:
    return ModelError(subject, got=got, expected=expected, fix=fix)
