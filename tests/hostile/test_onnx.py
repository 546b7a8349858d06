"""ONNX files that must not reach a runtime: each is refused by name, before one is imported."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.backends import openvino, ort
from edgetl.backends.onnx_check import MAX_CONSTANT_ELEMENTS, check_onnx
from edgetl.backends.registry import load
from edgetl.compile import openvino_from_onnx as compiler
from edgetl.errors import EdgetlError, ModelError
from edgetl.export.onnx_from_onnx import describe_onnx, onnx_from_onnx
from edgetl.reference.description import ClassifierDescription
from edgetl.reference.onnx_checkpoint import save_onnx_classifier
from edgetl.reference.onnx_network import OnnxNetwork
from edgetl.spec import Head, ImageInput, Precision, TensorInput, Variant
from tests.backends.helpers.models import conv_net, int8_net, root_net
from tests.export.helpers.elsewhere import keras_like, made

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


# A model that a user brings: it is refused before it is rewritten, and before it is saved.

HEAD = Head(layer="", classes=tuple("0123456789"))
IMAGE = ImageInput(height=32, width=32)


def not_taken(data: bytes, words: str, folder: Path) -> None:
    description = ClassifierDescription(architecture="onnx", input=IMAGE, head=HEAD)
    for take in (
        lambda: onnx_from_onnx(data, input=IMAGE, head=HEAD),
        lambda: OnnxNetwork(data, input=IMAGE),
        lambda: save_onnx_classifier(folder / "checkpoint", data, description),
    ):
        with pytest.raises(ModelError, match=words) as error:
            take()
        assert error.value.exit_code == 2
    assert not (folder / "checkpoint").exists()


def brought(change: Change) -> bytes:
    return changed(change, keras_like(batch=1))


def test_the_untouched_brought_model_reaches_the_runtime() -> None:
    with pytest.raises(AssertionError, match="a runtime was reached"):
        OnnxNetwork(keras_like(batch=1), input=IMAGE)


@pytest.mark.parametrize(
    "data", [b"", b"hello, I am text", b"\x89PNG\r\n\x1a\n", b"\x18\0\0\0ORTM"]
)
def test_a_brought_file_that_is_no_onnx(data: bytes, tmp_path: Path) -> None:
    not_taken(data, "an ONNX model in protobuf encoding", tmp_path)


@pytest.mark.parametrize("kind", ["absolute", "parent", "symlink", "hard link"])
def test_a_brought_model_with_external_data(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(864))
    run = tmp_path / "run"
    run.mkdir()
    monkeypatch.chdir(run)
    if kind == "symlink":
        (run / "weights").symlink_to(secret)
    elif kind == "hard link":
        os.link(secret, run / "weights")
    location = {"absolute": str(secret), "parent": "../secret"}.get(kind, "weights")

    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    not_taken(brought(change), "got data in another file", tmp_path)


@pytest.mark.parametrize(
    ("op", "domain", "words"),
    [
        ("EPContext", "com.microsoft", "operator EPContext of the domain 'com.microsoft'"),
        ("EPContext", "", "operator EPContext"),
        ("ZipMap", "ai.onnx.ml", "operator ZipMap of the domain 'ai.onnx.ml'"),
        ("PyFunc", "evil.example", "operator PyFunc of the domain 'evil.example'"),
    ],
)
def test_a_brought_model_with_an_operator_that_is_not_listed(
    op: str, domain: str, words: str, tmp_path: Path
) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node(op, ["a"], ["b"], name="odd one", domain=domain))
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    not_taken(brought(change), f"node 'odd one': got {words}", tmp_path)
    # An old file is held to the same list.
    old = onnx.load_from_string(brought(change))
    old.opset_import[0].version = 11
    not_taken(old.SerializeToString(), f"node 'odd one': got {words}", tmp_path)


@pytest.mark.parametrize("op", ["If", "Loop", "Scan"])
def test_a_brought_model_that_hides_an_operator_in_a_branch(op: str, tmp_path: Path) -> None:
    hidden = helper.make_node("PyFunc", ["a"], ["h"], domain="evil.example")
    body = helper.make_graph([hidden], "body", [], [])

    def change(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node(op, ["a"], ["b"], name="branch", then_branch=body))

    not_taken(brought(change), f"node 'branch': got operator {op}", tmp_path)


@pytest.mark.parametrize(
    ("opset", "words"), [(27, "got opset 27; expected 9 to 26"), (8, "opset 8")]
)
def test_a_brought_model_of_another_opset(opset: int, words: str, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = opset

    not_taken(brought(change), words, tmp_path)


@pytest.mark.parametrize("opset", [11, 15])
def test_a_brought_model_with_a_giant_out_of_a_few_bytes(opset: int, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        _shape_initializer(model)
        model.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["g"], name="giant"))
        model.opset_import[0].version = opset

    not_taken(brought(change), "node 'giant': got a constant of 1099511627776", tmp_path)


def test_a_brought_model_that_runs_in_a_circle(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[1].input[0] = "r"

    not_taken(brought(change), "a graph that the ONNX standard allows", tmp_path)


@pytest.mark.parametrize("constant", [False, True])
def test_a_brought_model_with_a_nan(constant: bool, tmp_path: Path) -> None:
    bad = numpy_helper.from_array(np.array([1, np.nan], np.float32), "bad one")

    def change(model: onnx.ModelProto) -> None:
        if constant:
            made = helper.make_node("Constant", [], ["other"], name="bad one", value=bad)
            model.graph.node.insert(0, made)
        else:
            model.graph.initializer.append(bad)

    not_taken(brought(change), "constant 'bad one': got NaN", tmp_path)


@pytest.mark.parametrize("element", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_a_brought_model_in_half_precision(element: int, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(helper.make_tensor("half", element, [1], [1.0]))

    not_taken(brought(change), "constant 'half': got b?float16; expected float32", tmp_path)


def test_a_brought_model_that_is_quantized_already(tmp_path: Path) -> None:
    not_taken(int8_net(), "quantized already", tmp_path)


def _int_answer(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("ArgMax", ["a"], ["label"], axis=1, keepdims=0))
    label = helper.make_tensor_value_info("label", TensorProto.INT64, [1])
    model.graph.output[0].CopyFrom(label)


def _map_answer(model: onnx.ModelProto) -> None:
    answer = model.graph.output[0]
    answer.type.CopyFrom(
        helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [10]))
    )


def _feature_answer(model: onnx.ModelProto) -> None:
    feature = helper.make_tensor_value_info("r", TensorProto.FLOAT, [1, 8, 15, 15])
    model.graph.output[0].CopyFrom(feature)


def _no_answer(model: onnx.ModelProto) -> None:
    model.graph.ClearField("output")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_int_answer, r"got 'label' int64 \[1\]; expected one float32 output"),
        (_map_answer, "got sequence_type; expected a tensor"),
        (_feature_answer, r"got 'r' float32 \[1, 8, 15, 15\]"),
        (_no_answer, "got no output"),
    ],
)
def test_a_brought_model_whose_outputs_are_not_a_classifier_s(
    change: Change, words: str, tmp_path: Path
) -> None:
    not_taken(brought(change), words, tmp_path)


@pytest.mark.parametrize("axis", [0, 2, -2])
def test_a_brought_model_whose_softmax_is_over_another_axis(axis: int, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        next(n for n in model.graph.node if n.op_type == "Softmax").attribute[0].i = axis

    not_taken(brought(change), f"got Softmax over axis {axis}", tmp_path)


def test_a_brought_model_whose_softmax_is_over_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    nodes = [
        helper.make_node("Softmax", ["x"], ["s"], axis=-1),
        helper.make_node("Flatten", ["s"], ["y"]),
    ]
    data = made(nodes, {}, {"x": [1, 5, 2]}, {"y": [1, 10]})
    with pytest.raises(ModelError, match="each row summing to 1"):
        onnx_from_onnx(data, input=TensorInput(shape=(5, 2)), head=HEAD)


def test_a_softmax_that_is_there_already_is_said_and_not_applied_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    note = describe_onnx(keras_like()).note
    assert note == "output 'Identity:0' ends in softmax already, which is not applied twice"
    graph = onnx.load_from_string(onnx_from_onnx(keras_like(), input=IMAGE, head=HEAD)).graph
    assert [node.op_type for node in graph.node].count("Softmax") == 1


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (("a", "b", "c"), "got 10 numbers for each input; expected 3, one for each class"),
        ((), "0 classes"),
        (("a",), "1 classes"),
        (("a",) * 10, "twice"),
    ],
)
def test_classes_that_are_not_the_model_s(
    classes: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    with pytest.raises(ModelError, match=words):
        onnx_from_onnx(keras_like(), input=IMAGE, head=Head(layer="", classes=classes))


def test_a_model_of_no_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    data = made(nodes, {"w": np.ones((3, 0))}, {"x": [1, 3]}, {"y": [1, 0]})
    with pytest.raises(ModelError, match="at least two classes"):
        onnx_from_onnx(data, input=TensorInput(shape=(3,)), head=HEAD)


def test_bit_flips_in_a_brought_model_end_in_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    random = np.random.default_rng(5)
    whole = np.frombuffer(keras_like(batch=1), np.uint8)
    refusals = 0
    for bit in random.integers(0, 8 * len(whole), 200):
        flipped = whole.copy()
        flipped[bit // 8] ^= np.uint8(1 << (bit % 8))
        try:
            onnx_from_onnx(flipped.tobytes(), input=IMAGE, head=HEAD)
        except EdgetlError as error:
            refusals += 1
            assert error.fix
    assert refusals > 30
