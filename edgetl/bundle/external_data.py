"""Finds ONNX tensors whose data lies outside the file, without the onnx package.

A runtime would follow such a reference, hard links included, to bytes that no hash covers. Only
the few protobuf fields that lead to a tensor are followed; tensor data is skipped, not read.

Field numbers: onnx.proto of ONNX.
"""

from __future__ import annotations

from edgetl import protobuf

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
        for field, _, value in protobuf.fields(message):
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
