from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetl.protobuf import BYTES, VARINT, fields, varint


@given(st.integers(min_value=0, max_value=(1 << 64) - 1))
def test_a_number_is_read_as_it_was_written(value: int) -> None:
    encoded, rest = bytearray(), value
    while rest >= 0x80:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    assert varint(memoryview(bytes(encoded)), 0) == (value, len(encoded))


@given(st.binary(max_size=64))
def test_any_bytes_are_read_within_bounds_or_refused(data: bytes) -> None:
    try:
        found = list(fields(memoryview(data)))
    except ValueError:
        return
    assert sum(len(value) for _, _, value in found if isinstance(value, memoryview)) <= len(data)


def test_fields_come_in_order_and_bytes_are_not_copied() -> None:
    data = memoryview(bytes([8, 150, 1, 18, 2, 65, 66]))
    (one, kind, number), (two, other, text) = fields(data)
    assert (one, kind, number) == (1, VARINT, 150)
    assert (two, other) == (2, BYTES)
    assert isinstance(text, memoryview) and text.obj is data.obj and bytes(text) == b"AB"


@pytest.mark.parametrize("data", [b"\x0b", b"\x00", b"\x3a\xff", b"\x08", b"\x0a\x05abc"])
def test_what_is_cut_short_or_no_protobuf_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"protobuf|too early"):
        list(fields(memoryview(data)))
