from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from edgetl.backends.onnx_check import check_onnx
from edgetl.backends.onnx_wire import OnnxModel, read_onnx
from edgetl.errors import ModelError
from tests.backends.helpers.models import conv_net, int8_net, root_net


@pytest.mark.parametrize("make", [conv_net, int8_net, root_net])
def test_reads_what_onnx_reads(make: object) -> None:
    data = make()  # type: ignore[operator]
    read, model = read_onnx(data, "m"), onnx.load_from_string(data)
    graph = model.graph
    assert read.ir_version == model.ir_version
    assert read.opsets == {item.domain: item.version for item in model.opset_import}
    assert [(n.name, n.op, n.domain, n.inputs, n.outputs) for n in read.nodes] == [
        (n.name, n.op_type, n.domain, tuple(n.input), tuple(n.output)) for n in graph.node
    ]
    assert [(t.name, t.shape, t.element) for t in read.initializers] == [
        (t.name, tuple(t.dims), t.data_type) for t in graph.initializer
    ]
    assert read.inputs == tuple(value.name for value in graph.input)
    assert read.outputs == tuple(value.name for value in graph.output)
    assert check_onnx(data) == read


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("values", [[3, -1, 1 << 40], [-(1 << 63)]])
def test_reads_int64_in_both_encodings(values: list[int], raw: bool) -> None:
    import numpy as np

    data = np.array(values, "<i8").tobytes() if raw else values
    tensor = helper.make_tensor("t", TensorProto.INT64, [len(values)], data, raw=raw)
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    graph = helper.make_graph([node], "g", [], [])
    (read,) = _read(helper.make_model(graph)).nodes
    assert read.tensors[0].int64_values() == tuple(values)


def test_reads_constants_given_as_attributes() -> None:
    node = helper.make_node("Constant", [], ["c"], value_ints=[5, -6])
    (read,) = _read(helper.make_model(helper.make_graph([node], "g", [], []))).nodes
    assert read.tensors[0].int64_values() == (5, -6)


def test_large_and_other_tensors_have_no_values() -> None:
    graph = helper.make_graph(
        [],
        "g",
        [],
        [],
        [
            helper.make_tensor("long", TensorProto.INT64, [65], list(range(65))),
            helper.make_tensor("float", TensorProto.FLOAT, [1], [1.0]),
            helper.make_tensor("fits", TensorProto.INT64, [2], [1, 2]),
        ],
    )
    graph.initializer[2].dims[0] = 3
    read = _read(helper.make_model(graph))
    assert [tensor.int64_values() for tensor in read.initializers] == [None, None, None]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "field 7 0 times"),
        (b"text, not a model", "not protobuf"),
        (b"\x08", "ends too early"),
        (b"\x3a\x7f", "ends too early"),
        (b"\x08" + b"\xff" * 11, "not protobuf"),
        (b"\x00\x00", "not protobuf"),
        (b"\x3b\x00", "not protobuf"),
        (b"\x3a\x00\x3a\x00", "field 7 2 times"),
        (b"\x38\x00", "field 7 of the wrong kind"),
        (b"\x08\x01\x08\x02\x3a\x00", "field 1 2 times"),
        (b"\x0a\x00\x3a\x00", "field 1 of the wrong kind"),
        (b"....ORTM and more", "own format"),
    ],
)
def test_what_is_no_model(data: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        read_onnx(data, "m")


def _read(model: onnx.ModelProto) -> OnnxModel:
    return read_onnx(model.SerializeToString(), "m")
