"""The protobuf wire format, read field by field: what a device can know of an ONNX file.

A device has no `onnx` package. Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The wire types; groups, which no ONNX file has, are refused."""

_SIZES = {FIXED64: 8, FIXED32: 4}


def fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """The fields of one message in order: number, wire type, value.

    Args:
        message: The bytes of a message. Nothing is copied: values of bytes are views.

    Raises:
        ValueError: When the bytes are not a message, or end too early.

    Example:
        >>> [(number, value) for number, _, value in fields(memoryview(bytes([8, 150, 1])))]
        [(1, 150)]
    """
    position, end = 0, len(message)
    while position < end:
        key, position = varint(message, position)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise ValueError("bytes that are not protobuf")
        if wire == VARINT:
            value, position = varint(message, position)
            yield number, wire, value
            continue
        if wire == BYTES:
            size, position = varint(message, position)
        elif wire in _SIZES:
            size = _SIZES[wire]
        else:
            raise ValueError("bytes that are not protobuf")
        if size > end - position:
            raise ValueError("a file that ends too early")
        yield number, wire, message[position : position + size]
        position += size


def varint(message: memoryview, position: int) -> tuple[int, int]:
    """The unsigned number at a position, and the position after it.

    Raises:
        ValueError: When it runs past the message or has more than ten bytes.

    Example:
        >>> varint(memoryview(bytes([150, 1])), 0)
        (150, 2)
    """
    result = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ValueError("a file that ends too early")
        byte = message[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFF_FFFF_FFFF_FFFF, position
    raise ValueError("bytes that are not protobuf")
