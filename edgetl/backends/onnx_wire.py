"""Reads the few fields of an ONNX file that decide whether a runtime may see it.

The `onnx` package is not needed on a device, so the protobuf encoding itself is read (field
numbers of onnx/onnx.proto3). It is strict where two readers could differ: a field that may appear
once must, and its wire type must fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgetl import protobuf
from edgetl.errors import ModelError

_INT64 = 7
_EXTERNAL = 1


@dataclass(frozen=True, kw_only=True)
class OnnxTensor:
    """An initializer or a tensor attribute; `data` is read on demand, and only small int64."""

    name: str
    shape: tuple[int, ...]
    element: int
    external: bool
    data: memoryview | None
    varints: tuple[int, ...]

    def int64_values(self) -> tuple[int, ...] | None:
        """The values of an int64 tensor, or None for any other or for one of odd size."""
        count = math.prod(self.shape)
        if self.element != _INT64 or count > 64:
            return None
        values = self.varints
        if self.data is not None and len(self.data) == 8 * count:
            values = tuple(int(value) for value in np.frombuffer(self.data, "<i8"))
        return values if len(values) == count else None


@dataclass(frozen=True, kw_only=True)
class OnnxNode:
    """One operator of the graph; attributes only as far as they hold tensors or graphs."""

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: tuple[OnnxTensor, ...]
    subgraphs: int


@dataclass(frozen=True, kw_only=True)
class OnnxModel:
    """What was read of a file."""

    ir_version: int
    opsets: dict[str, int]
    functions: int
    trainings: int
    nodes: tuple[OnnxNode, ...]
    initializers: tuple[OnnxTensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def names(self) -> set[str]:
        """Every name that the file gives to a node or a value."""
        found = {name for node in self.nodes for name in (node.name, *node.outputs)}
        return found | {tensor.name for tensor in self.initializers} | set(self.inputs)


def read_onnx(data: bytes, subject: str) -> OnnxModel:
    """Read a model's structure.

    Args:
        data: The bytes of an ONNX file.
        subject: What to call the model in an error.

    Raises:
        ModelError: When the bytes are not an ONNX model in protobuf encoding.
    """
    # ONNX Runtime recognises its own format by this mark and would skip every check made here.
    if data[4:8] == b"ORTM":
        raise _not_onnx(subject, "a model in ONNX Runtime's own format")
    try:
        model = _Message(memoryview(data))
        graph = _Message(model.one_bytes(7))
        return OnnxModel(
            ir_version=model.number(1),
            opsets=dict(_opset(_Message(item)) for item in model.every_bytes(8)),
            functions=len(model.every_bytes(25)),
            trainings=len(model.every_bytes(20)),
            nodes=tuple(_node(_Message(item)) for item in graph.every_bytes(1)),
            initializers=(
                *(_tensor(_Message(item)) for item in graph.every_bytes(5)),
                *(part for item in graph.every_bytes(15) for part in _sparse(_Message(item))),
            ),
            inputs=tuple(_Message(item).text(1) for item in graph.every_bytes(11)),
            outputs=tuple(_Message(item).text(1) for item in graph.every_bytes(12)),
        )
    except ValueError as error:
        raise _not_onnx(subject, str(error)) from error


def _not_onnx(subject: str, got: str) -> ModelError:
    return ModelError(
        subject,
        got=got,
        expected="an ONNX model in protobuf encoding",
        fix="export the model anew; the file may be cut short or damaged",
    )


def _opset(message: _Message) -> tuple[str, int]:
    return message.text(1), message.number(2)


def _node(message: _Message) -> OnnxNode:
    tensors: list[OnnxTensor] = []
    subgraphs = 0
    for item in message.every_bytes(5):
        attribute = _Message(item)
        subgraphs += len(attribute.every_bytes(6)) + len(attribute.every_bytes(11))
        tensors += _attribute_tensors(attribute)
    return OnnxNode(
        name=message.text(3),
        op=message.text(4),
        domain=message.text(7),
        inputs=tuple(_decode(item) for item in message.every_bytes(1)),
        outputs=tuple(_decode(item) for item in message.every_bytes(2)),
        tensors=tuple(tensors),
        subgraphs=subgraphs,
    )


def _attribute_tensors(attribute: _Message) -> list[OnnxTensor]:
    found = [_tensor(_Message(part)) for kind in (5, 10) for part in attribute.every_bytes(kind)]
    for kind in (22, 23):
        for part in attribute.every_bytes(kind):
            found += _sparse(_Message(part))
    if attribute.has(8):
        values = attribute.varints(8)
        found.append(
            OnnxTensor(
                name=attribute.text(1),
                shape=(len(values),),
                element=_INT64,
                external=False,
                data=None,
                varints=values,
            )
        )
    return found


def _tensor(message: _Message) -> OnnxTensor:
    raw = message.every_bytes(9)
    if len(raw) > 1:
        raise ValueError("a tensor with two data fields")
    location = message.number(14)
    return OnnxTensor(
        name=message.text(8),
        shape=message.varints(1),
        element=message.number(2),
        # An entry list without the flag is as suspicious as the flag itself.
        external=location == _EXTERNAL or bool(message.every_bytes(13)),
        data=raw[0] if raw else None,
        varints=message.varints(7),
    )


def _sparse(message: _Message) -> list[OnnxTensor]:
    return [_tensor(_Message(part)) for number in (1, 2) for part in message.every_bytes(number)]


class _Message:
    """One protobuf message: its fields by number, in order; ValueError when it is not one."""

    def __init__(self, data: memoryview) -> None:
        self._fields: dict[int, list[tuple[int, int | memoryview]]] = {}
        for number, wire, value in protobuf.fields(data):
            self._fields.setdefault(number, []).append((wire, value))

    def has(self, number: int) -> bool:
        return number in self._fields

    def every_bytes(self, number: int) -> list[memoryview]:
        found = []
        for wire, value in self._fields.get(number, ()):
            if wire != protobuf.BYTES or not isinstance(value, memoryview):
                raise ValueError(f"field {number} of the wrong kind")
            found.append(value)
        return found

    def one_bytes(self, number: int) -> memoryview:
        found = self.every_bytes(number)
        if len(found) != 1:
            raise ValueError(f"field {number} {len(found)} times instead of once")
        return found[0]

    def text(self, number: int) -> str:
        return _decode(self.one_bytes(number)) if self.has(number) else ""

    def number(self, number: int) -> int:
        values = self._fields.get(number, [])
        if len(values) > 1:
            raise ValueError(f"field {number} {len(values)} times instead of once")
        for wire, value in values:
            if wire != protobuf.VARINT or not isinstance(value, int):
                raise ValueError(f"field {number} of the wrong kind")
            return _signed(value)
        return 0

    def varints(self, number: int) -> tuple[int, ...]:
        values: list[int] = []
        for _, value in self._fields.get(number, ()):
            if isinstance(value, int):
                values.append(_signed(value))
                continue
            position = 0
            while position < len(value):
                one, position = protobuf.varint(value, position)
                values.append(_signed(one))
        return tuple(values)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _decode(data: memoryview) -> str:
    return bytes(data).decode("utf-8")
