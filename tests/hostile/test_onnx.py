"""ONNX files that must not reach a runtime: each is refused by name, before one is imported."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgetl.backends import openvino, ort
from edgetl.backends.onnx_check import MAX_CONSTANT_ELEMENTS, check_onnx
from edgetl.backends.registry import load
from edgetl.compile import openvino_from_onnx as compiler
from edgetl.errors import ModelError
from edgetl.spec import Precision, Variant
from tests.backends.helpers.models import conv_net, int8_net, root_net

VARIANT = Variant(id="bad", backend="onnxruntime", precision=Precision.FP32, files=("m.onnx",))
Change = Callable[[onnx.ModelProto], object]


@pytest.fixture(autouse=True)
def _no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    def called() -> None:
        raise AssertionError("a runtime was reached")

    monkeypatch.setattr(ort, "import_onnxruntime", called)
    monkeypatch.setattr(openvino, "import_openvino", called)
    monkeypatch.setattr(compiler, "import_openvino", called)


def refused(data: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words) as error:
        load(VARIANT, {"m.onnx": data})
    assert error.value.exit_code == 2
    with pytest.raises(ModelError, match=words):
        compiler.openvino_from_onnx(data)


def changed(change: Change, base: bytes | None = None) -> bytes:
    model = onnx.load_from_string(base or conv_net())
    change(model)
    data: bytes = model.SerializeToString()
    return data


def test_the_untouched_models_pass() -> None:
    for data in (conv_net(), int8_net(), root_net()):
        check_onnx(data)
        with pytest.raises(AssertionError, match="a runtime was reached"):
            load(VARIANT, {"m.onnx": data})


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 64, b"hello, I am text", b"\x89PNG\r\n\x1a\n", b"PK\3\4"]
)
def test_not_protobuf(data: bytes) -> None:
    refused(data, "an ONNX model in protobuf encoding")


def test_cut_short_anywhere() -> None:
    whole = conv_net()
    for size in np.linspace(1, len(whole) - 1, 20).astype(int):
        with pytest.raises(ModelError):
            check_onnx(whole[:size])


def test_bit_flips_never_crash_the_reader() -> None:
    random = np.random.default_rng(5)
    whole = np.frombuffer(int8_net(), np.uint8)
    for bit in random.integers(0, 8 * len(whole), 400):
        flipped = whole.copy()
        flipped[bit // 8] ^= np.uint8(1 << (bit % 8))
        try:
            check_onnx(flipped.tobytes())
        except ModelError as error:
            assert error.fix


def test_onnx_runtime_s_own_format() -> None:
    refused(b"\x18\0\0\0ORTM" + conv_net(), "own format")


@pytest.mark.parametrize("kind", ["absolute", "parent", "symlink", "hard link", "memory address"])
def test_external_data(kind: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(1728))
    inside = tmp_path / "run" / "weights"
    inside.parent.mkdir()
    if kind == "symlink":
        inside.symlink_to(secret)
    elif kind == "hard link":
        os.link(secret, inside)
    location = {
        "absolute": str(secret),
        "parent": "../secret",
        "memory address": "*/_ORT_MEM_ADDR_/*",
    }

    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[2]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location.get(kind, "weights"))

    refused(changed(change), "initializer 'w1': got data in another file")


def _external_without_the_flag(model: onnx.ModelProto) -> None:
    model.graph.initializer[2].external_data.add(key="location", value="x")


def _external_attribute(model: onnx.ModelProto) -> None:
    tensor = TensorProto(dims=[1], data_type=1, data_location=TensorProto.EXTERNAL, name="t")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], name="hidden", value=tensor))


def _external_sparse(model: onnx.ModelProto) -> None:
    sparse = model.graph.sparse_initializer.add(dims=[1])
    sparse.values.CopyFrom(
        TensorProto(dims=[1], data_type=1, data_location=TensorProto.EXTERNAL, name="sparse")
    )


def _external_sparse_attribute(model: onnx.ModelProto) -> None:
    sparse = onnx.SparseTensorProto(dims=[1])
    sparse.values.CopyFrom(TensorProto(dims=[1], data_type=1, data_location=TensorProto.EXTERNAL))
    node = helper.make_node("Constant", [], ["c"], name="hidden", sparse_value=sparse)
    model.graph.node.insert(0, node)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (_external_without_the_flag, "w1"),
        (_external_attribute, "hidden"),
        (_external_sparse, "sparse"),
        (_external_sparse_attribute, "hidden"),
    ],
)
def test_external_data_in_other_places(change: Change, where: str) -> None:
    refused(changed(change), f"'{where}': got data in another file")


def test_a_second_graph_that_protobuf_would_merge() -> None:
    tensor = TensorProto(dims=[1], data_type=1, data_location=TensorProto.EXTERNAL, name="late")
    late = onnx.ModelProto(graph=onnx.GraphProto(initializer=[tensor])).SerializeToString()
    merged = onnx.load_from_string(conv_net() + late)
    assert merged.graph.initializer[-1].name == "late", "protobuf no longer merges"
    refused(conv_net() + late, "2 times instead of once")


@pytest.mark.parametrize(
    ("op", "domain", "words"),
    [
        ("EPContext", "com.microsoft", "operator EPContext of the domain 'com.microsoft'"),
        ("EPContext", "", "operator EPContext"),
        ("Anything", "evil.example", "operator Anything of the domain 'evil.example'"),
        ("FusedMatMul", "com.microsoft", "operator FusedMatMul of the domain"),
        ("RandomNormalLike", "", "operator RandomNormalLike"),
        ("StringConcat", "", "operator StringConcat"),
        ("ImageDecoder", "", "operator ImageDecoder"),
        ("SequenceConstruct", "", "operator SequenceConstruct"),
    ],
)
def test_operators_that_are_not_listed(op: str, domain: str, words: str) -> None:
    def change(model: onnx.ModelProto) -> None:
        node = helper.make_node(op, ["logits"], ["extra"], name="odd one", domain=domain)
        model.graph.node.append(node)

    refused(changed(change), f"node 'odd one': got {words}")


@pytest.mark.parametrize("op", ["If", "Loop", "Scan", "Relu"])
def test_nested_graphs(op: str) -> None:
    def change(model: onnx.ModelProto) -> None:
        body = helper.make_graph([], "body", [], [])
        model.graph.node.append(helper.make_node(op, ["logits"], ["extra"], name="n", body=body))

    refused(changed(change), f"node 'n': got operator {op}")


def test_functions_and_training_parts() -> None:
    def function(model: onnx.ModelProto) -> None:
        inner = helper.make_node("Relu", ["x"], ["y"])
        model.functions.append(
            helper.make_function("", "Softmax", ["x"], ["y"], [inner], model.opset_import)
        )

    refused(changed(function), "functions of its own")
    refused(changed(lambda model: model.training_info.add()), "a training part")


@pytest.mark.parametrize("opset", [0, 12, 27, 99, -1])
def test_opset_too_old_or_too_new(opset: int) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = opset

    refused(changed(change), f"got opset {opset}; expected 13 to 26")


def test_an_empty_graph() -> None:
    refused(changed(lambda model: model.graph.ClearField("node")), "no operators")


GIANT = [1 << 20, 1 << 20]


def _shape_initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("shape", TensorProto.INT64, [2], GIANT))


def _shape_constant(model: onnx.ModelProto) -> None:
    tensor = helper.make_tensor("t", TensorProto.INT64, [2], np.array(GIANT).tobytes(), raw=True)
    model.graph.node.append(helper.make_node("Constant", [], ["shape"], value=tensor))


def _shape_ints(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["shape"], value_ints=GIANT))


@pytest.mark.parametrize("shape", [_shape_initializer, _shape_constant, _shape_ints])
@pytest.mark.parametrize(
    ("op", "inputs"),
    [
        ("ConstantOfShape", ["shape"]),
        ("Expand", ["logits", "shape"]),
        ("Tile", ["logits", "shape"]),
    ],
)
def test_a_giant_out_of_a_few_bytes(shape: Change, op: str, inputs: list[str]) -> None:
    def change(model: onnx.ModelProto) -> None:
        shape(model)
        model.graph.node.append(helper.make_node(op, inputs, ["giant"], name="giant maker"))

    assert np.prod(GIANT) > MAX_CONSTANT_ELEMENTS
    refused(changed(change), "node 'giant maker': got a constant of 1099511627776 elements")


def _rename(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = model.graph.output[0].name = "answer"


def _logits_only(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "logits"
    del model.graph.node[-1]


def _double(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "single"
    model.graph.node.append(
        helper.make_node("Cast", ["single"], ["probabilities"], to=TensorProto.DOUBLE)
    )
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _three_dimensions(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "flat answer"
    model.graph.initializer.append(helper.make_tensor("axis", TensorProto.INT64, [1], [1]))
    model.graph.node.append(
        helper.make_node("Unsqueeze", ["flat answer", "axis"], ["probabilities"])
    )
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 1, 5])
    )


@pytest.mark.parametrize("change", [_rename, _logits_only, _double, _three_dimensions])
def test_outputs_that_are_not_a_classifier_s(
    change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    data = changed(change)
    with pytest.raises(ModelError, match=r"outputs: got .*; expected probabilities float32"):
        load(VARIANT, {"m.onnx": data})
    xml, weights = compiler.openvino_from_onnx(data)
    ir = Variant(id="bad", backend="openvino", precision=Precision.FP32, files=("m.xml", "m.bin"))
    with pytest.raises(ModelError, match=r"outputs: got .*; expected probabilities float32"):
        load(ir, {"m.xml": xml, "m.bin": weights})
