"""A classifier of a few bytes, for every backend, with the answers worked out beside it.

It is made here, without the `onnx` package and without OpenVINO's converter: a device has neither.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgetl.spec import Precision, Setting, Variant

# Chosen so that each of the three inputs below has another likeliest class.
_WEIGHT = np.array([[2, -1, 0], [-1, 2, 0.5], [0, 0.5, 1], [0.25, 0, 2]], np.float32)
_BIAS = np.array([0.25, 0, -0.25], np.float32)

INPUTS: NDArray[np.float32] = np.array(
    [[1, 0, 0.5, 0], [0, 1.5, 0, 0.25], [0.25, 0, 1, 1]], np.float32
)
"""Three inputs, float32 [3, 4]."""


def expected() -> NDArray[np.float64]:
    """The probabilities of `INPUTS`, float64 [3, 3], worked out in numpy.

    Example:
        >>> expected().argmax(axis=1).tolist()
        [0, 1, 2]
    """
    logits = INPUTS.astype(np.float64) @ _WEIGHT + _BIAS
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return found


def tiny_variant(
    backend: str, setting: str, value: Setting, precision: Precision
) -> tuple[Variant, dict[str, bytes]]:
    """The variant for a backend with one setting, and the bytes of its files.

    Example:
        >>> variant, files = tiny_variant("onnxruntime", "provider", "P", Precision.FP32)
        >>> variant.files == tuple(files)
        True
    """
    if backend == "openvino":
        files = {"tiny.xml": ir_text().encode(), "tiny.bin": _WEIGHT.tobytes() + _BIAS.tobytes()}
    else:
        files = {"tiny.onnx": onnx_bytes()}
    variant = Variant(
        id=f"{backend} {value}",
        backend=backend,
        precision=precision,
        files=tuple(files),
        settings={setting: value},
    )
    return variant, files


def onnx_bytes() -> bytes:
    """``features`` float32 [batch, 4] → Gemm → Softmax → ``probabilities`` float32 [batch, 3].

    The field numbers are those of onnx/onnx.proto3.
    """
    nodes = (
        _node("Gemm", ["features", "weight", "bias"], "logits"),
        _node("Softmax", ["logits"], "probabilities"),
    )
    graph = b"".join(
        [
            *(_field(1, node) for node in nodes),
            _field(2, b"tiny"),
            _field(5, _tensor("weight", _WEIGHT)),
            _field(5, _tensor("bias", _BIAS)),
            _field(11, _value("features", 4)),
            _field(12, _value("probabilities", 3)),
        ]
    )
    opset = _field(1, b"") + _field(2, 13)
    return _field(1, 8) + _field(7, graph) + _field(8, opset)


def _node(operator: str, inputs: list[str], output: str) -> bytes:
    named = b"".join(_field(1, name.encode()) for name in inputs)
    return named + _field(2, output.encode()) + _field(4, operator.encode())


def _tensor(name: str, array: NDArray[np.float32]) -> bytes:
    sizes = b"".join(_field(1, size) for size in array.shape)
    return sizes + _field(2, 1) + _field(8, name.encode()) + _field(9, array.tobytes())


def _value(name: str, width: int) -> bytes:
    shape = _field(1, _field(2, b"batch")) + _field(1, _field(1, width))
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, 1) + _field(2, shape)))


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return bytes([number << 3]) + _varint(value)
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


def ir_text() -> str:
    """The same as an OpenVINO IR; its weights are those of the ONNX model, one after the other."""
    features, logits = "<dim>-1</dim><dim>4</dim>", "<dim>-1</dim><dim>3</dim>"
    weight, bias = "<dim>4</dim><dim>3</dim>", "<dim>1</dim><dim>3</dim>"
    layers = (
        _layer(0, "Parameter", 'shape="?,4" element_type="f32"', [], features, "features"),
        _layer(1, "Const", 'element_type="f32" shape="4,3" offset="0" size="48"', [], weight),
        _layer(2, "MatMul", 'transpose_a="false" transpose_b="false"', [features, weight], logits),
        _layer(3, "Const", 'element_type="f32" shape="1,3" offset="48" size="12"', [], bias),
        _layer(4, "Add", 'auto_broadcast="numpy"', [logits, bias], logits),
        _layer(5, "SoftMax", 'axis="1"', [logits], logits, "probabilities"),
        _layer(6, "Result", None, [logits], None),
    )
    edges = ((0, 2, 0), (1, 2, 1), (2, 4, 0), (3, 4, 1), (4, 5, 0), (5, 6, 0))
    # An output port comes after the layer's inputs.
    inputs = {0: 0, 1: 0, 2: 2, 3: 0, 4: 2, 5: 1}
    joined = "".join(
        f'<edge from-layer="{a}" from-port="{inputs[a]}" to-layer="{b}" to-port="{port}"/>'
        for a, b, port in edges
    )
    return (
        '<?xml version="1.0"?><net name="tiny" version="11">'
        f"<layers>{''.join(layers)}</layers><edges>{joined}</edges></net>"
    )


def _layer(
    number: int,
    kind: str,
    data: str | None,
    inputs: list[str],
    output: str | None,
    name: str | None = None,
) -> str:
    ports = [f'<port id="{at}" precision="FP32">{size}</port>' for at, size in enumerate(inputs)]
    parts = [f'<layer id="{number}" name="{name or kind}{number}" type="{kind}" version="opset1">']
    if data is not None:
        parts.append(f"<data {data}/>")
    if ports:
        parts.append(f"<input>{''.join(ports)}</input>")
    if output is not None:
        names = f' names="{name}"' if name else ""
        parts.append(
            f'<output><port id="{len(ports)}" precision="FP32"{names}>{output}</port></output>'
        )
    return "".join([*parts, "</layer>"])
