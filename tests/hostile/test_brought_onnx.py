"""A model that a user brings: refused before it is rewritten, and before it is saved."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.backends import openvino, ort
from edgetl.compile import openvino_from_onnx as compiler
from edgetl.errors import EdgetlError, ModelError
from edgetl.export.onnx_from_onnx import describe_onnx, onnx_from_onnx
from edgetl.reference.description import ClassifierDescription
from edgetl.reference.onnx_checkpoint import save_onnx_classifier
from edgetl.reference.onnx_network import OnnxNetwork
from edgetl.spec import Head, ImageInput, TensorInput
from tests.backends.helpers.models import int8_net
from tests.export.helpers.elsewhere import keras_like, made

Change = Callable[[onnx.ModelProto], object]

HEAD = Head(layer="", classes=tuple("0123456789"))
IMAGE = ImageInput(height=32, width=32)


@pytest.fixture(autouse=True)
def _no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    def called() -> None:
        raise AssertionError("a runtime was reached")

    monkeypatch.setattr(ort, "import_onnxruntime", called)
    monkeypatch.setattr(openvino, "import_openvino", called)
    monkeypatch.setattr(compiler, "import_openvino", called)


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
    model = onnx.load_from_string(keras_like(batch=1))
    change(model)
    data: bytes = model.SerializeToString()
    return data


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
        giant = np.array([1 << 20, 1 << 20], np.int64)
        model.graph.initializer.append(numpy_helper.from_array(giant, "shape"))
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
