"""Finds ONNX tensors whose data lies outside the file, without the onnx package.

A runtime would follow such a reference, hard links included, to bytes that no hash covers. Only
the few protobuf fields that lead to a tensor are followed; tensor data is skipped, not read.

Wire format: https://protobuf.dev/programming-guides/encoding/; field numbers: onnx.proto of ONNX.
"""

from __future__ import annotations

from collections.abc import Iterator

# Message → field number → the message in it.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_TENSOR_NAME = 8
_TENSOR_EXTERNAL_DATA = 13
_TENSOR_DATA_LOCATION = 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def external_tensor(model: bytes) -> str | None:
    """The name of the first tensor whose data is said to lie in another file, or None.

    Args:
        model: The bytes of an ONNX file.

    Raises:
        ValueError: When the bytes are not a protobuf message of the shape of an ONNX model.

    Example:
        >>> external_tensor(b"")
    """
    waiting = [("model", memoryview(model))]
    while waiting:
        kind, message = waiting.pop()
        children = _CHILDREN[kind]
        name, external = "", False
        for field, value in _fields(message):
            if isinstance(value, int):
                external |= kind == "tensor" and field == _TENSOR_DATA_LOCATION and value != 0
            elif field in children:
                waiting.append((children[field], value))
            elif kind == "tensor":
                external |= field == _TENSOR_EXTERNAL_DATA
                if field == _TENSOR_NAME:
                    name = bytes(value[:200]).decode("utf-8", "replace")
        if external:
            return name or "a tensor without a name"
    return None


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        field, wire = tag >> 3, tag & 7
        value: int | memoryview = 0
        if wire == _VARINT:
            value, at = _varint(message, at)
        elif wire == _BYTES:
            size, at = _varint(message, at)
            value = message[at : at + size]
            at += size
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at > end or field == 0:
            raise ValueError("a field that runs past its message" if field else "field number 0")
        yield field, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("a number that runs past its message")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
