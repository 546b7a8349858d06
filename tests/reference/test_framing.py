"""Frames survive the pipe whole, and nothing else is taken for one."""

from __future__ import annotations

import io

import numpy as np
import pytest

from edgetl.errors import WorkerError
from edgetl.reference.framing import read_frame, write_frame


def _bytes(header: dict[str, object], **arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    write_frame(stream, header, arrays)
    return stream.getvalue()


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
def test_arrays_come_back_equal_and_writable(dtype: str) -> None:
    sent = np.arange(24).reshape(2, 3, 4).astype(dtype)
    frame = read_frame(io.BytesIO(_bytes({"kind": "x"}, a=sent, b=sent[:0])))
    assert frame is not None
    header, arrays = frame
    assert header == {"kind": "x"}
    assert arrays["a"].dtype == sent.dtype and arrays["a"].flags.writeable
    np.testing.assert_array_equal(arrays["a"], sent)
    assert arrays["b"].shape == (0, 3, 4)


def test_a_strided_array_is_sent_in_its_own_order() -> None:
    sent = np.arange(12, dtype=np.uint8).reshape(3, 4).T
    frame = read_frame(io.BytesIO(_bytes({}, a=sent)))
    assert frame is not None
    np.testing.assert_array_equal(frame[1]["a"], sent)


def test_the_end_between_frames_is_none() -> None:
    stream = io.BytesIO(_bytes({"kind": "one"}) + _bytes({"kind": "two"}))
    assert [frame[0]["kind"] for frame in iter(lambda: read_frame(stream), None)] == ["one", "two"]


def test_every_truncation_is_an_error() -> None:
    whole = _bytes({"kind": "x"}, a=np.arange(3, dtype=np.uint8))
    for length in range(1, len(whole)):
        with pytest.raises(WorkerError):
            read_frame(io.BytesIO(whole[:length]))


@pytest.mark.parametrize(
    "data",
    [
        b"hello, world",
        b"edg1" + b"\xff\xff\xff\xff",
        b"edg1" + (4).to_bytes(4, "little") + b"nope",
        b"edg1" + (2).to_bytes(4, "little") + b"[]",
        b"edg1" + (2).to_bytes(4, "little") + b"{}",
        _bytes({}, a=np.zeros(1, np.uint8)).replace(b'"uint8"', b'"objec"'),
        _bytes({}, a=np.zeros(11, np.uint8)).replace(b"[11]", b"[-1]"),
    ],
)
def test_what_is_not_a_frame_is_refused(data: bytes) -> None:
    with pytest.raises(WorkerError):
        read_frame(io.BytesIO(data))
