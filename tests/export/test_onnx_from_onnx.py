from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from onnx import numpy_helper
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from torch import nn

from edgetl.errors import ModelError
from edgetl.export.onnx_from_onnx import OnnxEnding, describe_onnx, onnx_from_onnx
from edgetl.spec import Head, ImageInput, SeveralInputs, TensorInput
from tests.export.helpers.elsewhere import (
    CLASSES,
    Small,
    dynamo_export,
    keras_like,
    legacy_export,
    made,
    node,
    perceptron_like,
)

HEAD = Head(layer="", classes=CLASSES, temperature=1.7)
IMAGE = ImageInput(height=32, width=32)
SHAPE = (1, 3, 32, 32)
Answers = dict[str, NDArray[np.float32]]


def run(model: bytes, inputs: dict[str, NDArray]) -> Answers:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def one_by_one(model: bytes, x: NDArray[np.float32], name: str | None = None) -> NDArray:
    """The original file's answer, one input at a time, whatever its batch is."""
    proto = onnx.load_from_string(model)
    wanted = name or proto.graph.output[0].name
    single = [run(model, {proto.graph.input[0].name: row[None]})[wanted] for row in x]
    return np.concatenate(single).astype(np.float64)


def softmax(logits: NDArray) -> NDArray[np.float64]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def floats(x: NDArray[np.uint8], layout: str = "NCHW", input: ImageInput = IMAGE) -> NDArray:
    scaled = (x / 255 - np.array(input.mean)) / np.array(input.std)
    return (scaled.transpose(0, 3, 1, 2) if layout == "NCHW" else scaled).astype(np.float32)


def assert_answers(
    model: bytes, x: NDArray, expected: NDArray, name: str = "image", limit: float = 1e-5
) -> None:
    assert expected.std(axis=0).max() > 0.05, "the network answers every input alike"
    for batch in (1, 3, 32):
        parts = [run(model, {name: x[at : at + batch]}) for at in range(0, 32, batch)]
        answers = np.concatenate([part["probabilities"] for part in parts])
        np.testing.assert_allclose(answers, expected[: len(answers)], rtol=0, atol=limit)


def operators(model: bytes) -> list[str]:
    return [item.op_type for item in onnx.load_from_string(model).graph.node]


@pytest.fixture(scope="module")
def x(digits) -> NDArray[np.uint8]:
    return digits(32)[:33]


@pytest.fixture
def small(settled, x) -> Small:
    torch.manual_seed(0)
    network = Small()
    return settled(network, network.head, torch.from_numpy(floats(x)))


@pytest.mark.parametrize("opset", [9, 11, 13, 17])
def test_torch_s_old_exporter_with_a_fixed_batch(small: Small, x, opset: int) -> None:
    model = legacy_export(small, SHAPE, opset)
    made = onnx_from_onnx(model, input=IMAGE, head=HEAD)
    assert_answers(made, x, softmax(one_by_one(model, floats(x)) / 1.7))
    proto = onnx.load_from_string(made)
    assert proto.opset_import[0].version == 20
    # The temperature is in the weights.
    assert operators(made)[-2:] == ["Gemm", "Softmax"]
    onnx.checker.check_model(proto, full_check=True)


@pytest.mark.parametrize("free", [False, True])
def test_torch_s_new_exporter(small: Small, x, free: bool) -> None:
    model = dynamo_export(small, SHAPE, free=free)
    made = onnx_from_onnx(model, input=IMAGE, head=HEAD)
    assert_answers(made, x, softmax(one_by_one(model, floats(x)) / 1.7))
    assert onnx.load_from_string(made).opset_import[0].version == describe_onnx(model).opset


@pytest.mark.parametrize(
    ("ending", "found"),
    [
        (nn.Softmax(dim=1), OnnxEnding.SOFTMAX),
        (nn.Softmax(dim=-1), OnnxEnding.SOFTMAX),
        (nn.LogSoftmax(dim=1), OnnxEnding.LOG_SOFTMAX),
        (nn.Identity(), OnnxEnding.LOGITS),
    ],
)
@pytest.mark.parametrize("opset", [11, 17])
def test_a_softmax_of_its_own_is_not_applied_twice(
    small: Small, x, ending: nn.Module, found: OnnxEnding, opset: int
) -> None:
    logits = one_by_one(legacy_export(small, SHAPE, opset), floats(x))
    small.ending = ending
    model = legacy_export(small, SHAPE, opset)
    assert describe_onnx(model).ending is found
    made = onnx_from_onnx(model, input=IMAGE, head=HEAD)
    assert_answers(made, x, softmax(logits / 1.7))
    assert operators(made).count("Softmax") == 1
    assert "LogSoftmax" not in operators(made)


def test_a_batch_of_four_is_freed_too(small: Small, x) -> None:
    model = legacy_export(small, (4, *SHAPE[1:]), 17)
    expected = one_by_one(legacy_export(small, SHAPE, 17), floats(x))
    assert_answers(onnx_from_onnx(model, input=IMAGE, head=HEAD), x, softmax(expected / 1.7))


@pytest.mark.parametrize(("name", "size"), [("squeezenet1_1", 64), ("shufflenet_v2_x0_5", 64)])
def test_real_networks_with_a_fixed_batch(name: str, size: int, digits, settled) -> None:
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None, num_classes=10).eval()
    x = digits(size)[:33]
    # Exact in float32, so that an untrained network has no rounding to make larger.
    input = ImageInput(
        height=size, width=size, pixel_range="0-255", mean=(127.0,) * 3, std=(64.0,) * 3
    )
    normal = np.ascontiguousarray(((x.astype("f4") - 127) / 64).transpose(0, 3, 1, 2))
    for layer in (m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)):
        nn.init.kaiming_normal_(layer.weight)
    if name != "squeezenet1_1":
        linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
        settled(network, linear[-1], torch.from_numpy(normal))
    model = legacy_export(network, (1, 3, size, size), 17)
    logits = one_by_one(model, normal)
    # A temperature at which answers of an untrained network are neither all alike nor all sure.
    head = Head(layer="", classes=CLASSES, temperature=float(logits.std(axis=0).max()))
    made = onnx_from_onnx(model, input=input, head=head)
    assert_answers(made, x, softmax(logits / head.temperature))


def test_keras_as_tf2onnx_writes_it(x) -> None:
    input = ImageInput(height=32, width=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    for model in (keras_like(), keras_like(batch=1)):
        made = onnx_from_onnx(model, input=input, head=HEAD)
        probabilities = one_by_one(model, floats(x, "NHWC", input))
        assert_answers(made, x, softmax(np.log(probabilities) / 1.7))
        before = ["Cast", "Mul", "Add", "Transpose", "Conv"]
        assert operators(made) == [
            *before, "Relu", "GlobalAveragePool", "Squeeze", "MatMul", "Add", "Softmax",
        ]  # fmt: skip


def test_caffe_s_preprocessing(x) -> None:
    input = ImageInput(
        height=32, width=32, channels="bgr", pixel_range="0-255",
        mean=(103.939, 116.779, 123.68), std=(60.0, 61.0, 62.0),
    )  # fmt: skip
    made = onnx_from_onnx(keras_like(), input=input, head=HEAD)
    colours = np.random.default_rng(0).uniform(0, 1, (33, 1, 1, 3))
    pixels = ((255 - x) * colours).astype(np.uint8)
    normal = (pixels[..., [2, 1, 0]] - np.array(input.mean)) / np.array(input.std)
    probabilities = one_by_one(keras_like(), normal.astype(np.float32))
    assert_answers(made, pixels, softmax(np.log(probabilities) / 1.7))


def test_pixels_that_are_taken_as_they_are_get_no_arithmetic() -> None:
    input = ImageInput(height=32, width=32, pixel_range="0-255", mean=(0.0,) * 3, std=(1.0,) * 3)
    made = onnx_from_onnx(keras_like(), input=input, head=HEAD)
    assert operators(made)[:3] == ["Cast", "Transpose", "Conv"]


def grey_model(shape: list[int]) -> bytes:
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.2, (1024, 10))
    return made(
        [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w", "b"], ["y"])],
        {"w": weights - weights.mean(axis=0), "b": rng.normal(size=10)},
        {"x": shape},
        {"y": [1, 10]},
    )


@pytest.mark.parametrize("shape", [[1, 1, 32, 32], [1, 32, 32, 1]])
def test_grey_images(x, shape: list[int]) -> None:
    input = ImageInput(height=32, width=32, channels="grey", mean=(0.4,), std=(0.3,))
    grey = x[..., :1].copy()
    model = grey_model(shape)
    normal = ((grey / 255 - 0.4) / 0.3).astype(np.float32).reshape(-1, *shape[1:])
    rewritten = onnx_from_onnx(model, input=input, head=HEAD)
    assert_answers(rewritten, grey, softmax(one_by_one(model, normal) / 1.7))


@pytest.fixture(scope="module")
def perceptron() -> MLPClassifier:
    digits = load_digits()
    classifier = MLPClassifier((24,), random_state=0, max_iter=12)
    with warnings.catch_warnings():
        # It is to answer variously, not to be good.
        warnings.simplefilter("ignore")
        return classifier.fit(digits.data / 16, digits.target)


def test_a_perceptron_of_sklearn(perceptron: MLPClassifier) -> None:
    features = (load_digits().data[:33] / 16).astype(np.float32)
    model = perceptron_like(perceptron)
    head = Head(layer="", classes=CLASSES, temperature=1.0)
    rewritten = onnx_from_onnx(model, input=TensorInput(shape=(64,)), head=head)
    expected = perceptron.predict_proba(features.astype(np.float64))
    assert_answers(rewritten, features, expected, "features")
    assert [value.name for value in onnx.load_from_string(rewritten).graph.output] == [
        "probabilities"
    ]


def several_model(names: tuple[str, str]) -> bytes:
    rng = np.random.default_rng(0)
    return made(
        [
            node("Concat", list(names), ["c"], axis=1),
            node("MatMul", ["c", "w"], ["h"]),
            node("Relu", ["h"], ["r"]),
            node("Sigmoid", ["r"], ["s"]),
            node("Mul", ["s", "scale"], ["y"]),
        ],
        {"w": rng.normal(size=(5, 10)), "scale": rng.normal(0, 9, (1, 10))},
        {names[0]: [1, 3], names[1]: [1, 2]},
        {"y": [1, 10]},
    )


@pytest.mark.parametrize("names", [("a", "b"), ("first:0", "second:0")])
def test_several_inputs_and_a_temperature_that_is_a_multiplication(names) -> None:
    model = several_model(names)
    # In another order than the file's; names that are all the same decide, else the order.
    parts = {"a": TensorInput(shape=(3,)), "b": TensorInput(shape=(2,))}
    same = names == ("a", "b")
    order = ["b", "a"] if same else ["a", "b"]
    input = SeveralInputs(parts={name: parts[name] for name in order})
    rewritten = onnx_from_onnx(model, input=input, head=HEAD, logits=True)
    assert [v.name for v in onnx.load_from_string(rewritten).graph.input] == order
    assert operators(rewritten)[-3:] == ["Mul", "Mul", "Softmax"]
    rng = np.random.default_rng(1)
    x = {"a": rng.normal(size=(32, 3)), "b": rng.normal(size=(32, 2))}
    x = {name: value.astype(np.float32) for name, value in x.items()}
    rows = [
        run(model, dict(zip(names, (x["a"][at : at + 1], x["b"][at : at + 1]), strict=True)))
        for at in range(32)
    ]
    expected = np.concatenate([row["y"] for row in rows]) / 1.7
    assert softmax(expected).std(axis=0).max() > 0.05
    answers = run(rewritten, x)
    np.testing.assert_allclose(answers["logits"], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(answers["probabilities"], softmax(expected), atol=1e-5)


def test_probabilities_without_a_softmax_need_the_user_s_word(x) -> None:
    rng = np.random.default_rng(0)
    nodes = [
        node("Flatten", ["x"], ["f"]),
        node("MatMul", ["f", "w"], ["z"]),
        node("Exp", ["z"], ["e"]),
        node("ReduceSum", ["e", "axes"], ["t"]),
        node("Div", ["e", "t"], ["y"]),
    ]
    weights = {"w": rng.normal(0, 0.05, (3072, 10)), "axes": np.array([1])}
    model = made(nodes, weights, {"x": [1, 3, 32, 32]}, {"y": [1, 10]})
    assert describe_onnx(model).ending is OnnxEnding.UNCLEAR
    with pytest.raises(ModelError, match=r'output = "probabilities"'):
        onnx_from_onnx(model, input=IMAGE, head=HEAD)
    rewritten = onnx_from_onnx(model, input=IMAGE, head=HEAD, output="probabilities")
    assert_answers(rewritten, x, softmax(np.log(one_by_one(model, floats(x))) / 1.7))


def test_a_mean_of_two_softmaxes_is_not_taken_for_logits() -> None:
    nodes = [
        node("Softmax", ["x"], ["a"]),
        node("Neg", ["x"], ["n"]),
        node("Softmax", ["n"], ["b"]),
        node("Add", ["a", "b"], ["s"]),
        node("Mul", ["s", "half"], ["y"]),
    ]
    model = made(nodes, {"half": np.array(0.5)}, {"x": [1, 10]}, {"y": [1, 10]})
    with pytest.raises(ModelError, match="rows sum to 1, and no Softmax"):
        onnx_from_onnx(model, input=TensorInput(shape=(10,)), head=HEAD)
    rewritten = onnx_from_onnx(
        model, input=TensorInput(shape=(10,)), head=HEAD, output="probabilities"
    )
    assert operators(rewritten)[-4:] == ["Clip", "Log", "Mul", "Softmax"]


@pytest.mark.parametrize(
    ("model", "output", "words"),
    [
        (keras_like(), "logits", 'output = "probabilities"'),
        (grey_model([1, 1, 32, 32]), "probabilities", "each row summing to 1"),
    ],
)
def test_a_word_that_the_file_denies(model: bytes, output: str, words: str) -> None:
    input = IMAGE
    if output == "probabilities":
        input = ImageInput(height=32, width=32, channels="grey", mean=(0.4,), std=(0.3,))
    with pytest.raises(ModelError, match=words):
        onnx_from_onnx(model, input=input, head=HEAD, output=output)


def test_a_network_that_mixes_the_batch_is_refused() -> None:
    """A class token that was repeated for a batch of one cannot be repeated for three."""
    rng = np.random.default_rng(0)
    nodes = [
        node("Concat", ["token", "x"], ["c"], axis=1),
        node("ReduceMean", ["c"], ["m"], axes=[1], keepdims=0),
        node("MatMul", ["m", "w"], ["y"]),
    ]
    weights = {"token": rng.normal(size=(1, 1, 6)), "w": rng.normal(size=(6, 10))}
    model = made(nodes, weights, {"x": [1, 4, 6]}, {"y": [1, 10]})
    with pytest.raises(ModelError, match="export it again with a free batch") as error:
        onnx_from_onnx(model, input=TensorInput(shape=(4, 6)), head=HEAD)
    assert "asked 3 inputs at once" in str(error.value)


def test_a_network_that_sees_the_other_inputs_is_refused() -> None:
    nodes = [
        node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        node("Sub", ["x", "m"], ["y"]),
    ]
    model = made(nodes, {}, {"x": [None, 10]}, {"y": [None, 10]})
    with pytest.raises(ModelError, match="away from those of the single inputs"):
        onnx_from_onnx(model, input=TensorInput(shape=(10,)), head=HEAD)


def test_an_output_that_is_the_softmax_of_another_is_chosen(x) -> None:
    proto = onnx.load_from_string(keras_like())
    proto.graph.output.append(
        onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, [None, 10])
    )
    model = proto.SerializeToString()
    description = describe_onnx(model)
    assert (description.answer, description.logits) == ("Identity:0", "a")
    assert "'Identity:0' ends in softmax already" in description.note
    one = onnx_from_onnx(keras_like(), input=IMAGE, head=HEAD)
    assert onnx_from_onnx(model, input=IMAGE, head=HEAD) == one


def test_unrelated_outputs_are_listed() -> None:
    nodes = [node("Add", ["x", "x"], ["age"]), node("Mul", ["x", "x"], ["logits"])]
    model = made(nodes, {}, {"x": [1, 10]}, {"age": [1, 10], "logits": [1, 10]})
    with pytest.raises(ModelError, match=r"'age' float32 \[1, 10\], 'logits' float32"):
        describe_onnx(model)
    assert describe_onnx(model, output="logits").answer == "logits"


def test_weights_that_another_layer_shares_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Tanh", ["h"], ["t"]),
        node("MatMul", ["t", "w"], ["y"]),
    ]
    model = made(nodes, {"w": rng.normal(size=(10, 10))}, {"x": [1, 10]}, {"y": [1, 10]})
    x = rng.normal(size=(33, 10)).astype(np.float32)
    rewritten = onnx_from_onnx(model, input=TensorInput(shape=(10,)), head=HEAD)
    assert_answers(rewritten, x, softmax(one_by_one(model, x) / 1.7), "features")


def test_casts_that_change_nothing_are_left_out() -> None:
    """As Keras writes them on PyTorch: after every operator."""
    rng = np.random.default_rng(0)
    cast = {"to": onnx.TensorProto.FLOAT}
    nodes = [
        node("Cast", ["x"], ["c0"], **cast),
        node("MatMul", ["c0", "w"], ["m"]),
        node("Cast", ["m"], ["c1"], **cast),
        node("Add", ["c1", "b"], ["a"]),
        node("Cast", ["a"], ["c2"], **cast),
        node("Softmax", ["c2"], ["s"]),
        node("Cast", ["s"], ["y"], **cast),
    ]
    weights = {"w": rng.normal(size=(6, 10)), "b": rng.normal(size=10)}
    model = made(nodes, weights, {"x": [1, 6]}, {"y": [1, 10]})
    x = rng.normal(size=(32, 6)).astype(np.float32)
    rewritten = onnx_from_onnx(model, input=TensorInput(shape=(6,)), head=HEAD)
    assert operators(rewritten) == ["MatMul", "Add", "Softmax"]
    assert_answers(rewritten, x, softmax(np.log(one_by_one(model, x)) / 1.7), "features")


def test_logits_in_float64_are_refused() -> None:
    nodes = [
        node("Cast", ["x"], ["d"], to=onnx.TensorProto.DOUBLE),
        node("Softmax", ["d"], ["s"]),
        node("Cast", ["s"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    model = made(nodes, {}, {"x": [1, 10]}, {"y": [1, 10]})
    with pytest.raises(ModelError, match="convert the network to float32"):
        onnx_from_onnx(model, input=TensorInput(shape=(10,)), head=HEAD)


def test_names_that_edgetl_needs_are_made_free() -> None:
    nodes = [
        node("Relu", ["image"], ["logits"], name="edgetl/Cast"),
        node("Mul", ["logits", "probabilities"], ["features"]),
        node("Softmax", ["features"], ["edgetl/Mul.0"]),
    ]
    weights = {"probabilities": np.random.default_rng(0).normal(size=10)}
    model = made(nodes, weights, {"image": [1, 10]}, {"edgetl/Mul.0": [1, 10]})
    rewritten = onnx_from_onnx(model, input=TensorInput(shape=(10,)), head=HEAD, logits=True)
    graph = onnx.load_from_string(rewritten).graph
    assert [value.name for value in graph.input] == ["features"]
    assert [value.name for value in graph.output] == ["probabilities", "logits"]
    assert {"network/logits", "network/features"} <= {n for i in graph.node for n in i.output}
    x = np.random.default_rng(1).normal(size=(32, 10)).astype(np.float32)
    expected = softmax(np.log(one_by_one(model, x)) / 1.7)
    assert_answers(rewritten, x, expected, "features")


def test_the_logits_are_what_the_softmax_is_taken_of(small: Small, x) -> None:
    model = legacy_export(small, SHAPE, 17)
    both = run(onnx_from_onnx(model, input=IMAGE, head=HEAD, logits=True), {"image": x})
    np.testing.assert_allclose(both["probabilities"], softmax(both["logits"]), atol=1e-6)
    expected = one_by_one(model, floats(x)) / 1.7
    np.testing.assert_allclose(both["logits"], expected, atol=2e-5)


def test_the_file_says_nothing_of_where_it_was_made(small: Small) -> None:
    model = keras_like()
    proto = onnx.load_from_string(onnx_from_onnx(model, input=IMAGE, head=HEAD))
    assert proto.producer_name == "edgetl"
    assert not proto.doc_string and not proto.graph.doc_string and not proto.metadata_props
    assert all(not item.doc_string and not item.metadata_props for item in proto.graph.node)
    assert [item.domain for item in proto.opset_import] == [""]
    # The user's own names are kept.
    assert {"conv/Conv2D", "dense/MatMul"} <= {item.name for item in proto.graph.node}


SCRIPT = """
import hashlib, sys
from pathlib import Path
from edgetl.export.onnx_from_onnx import onnx_from_onnx
from edgetl.spec import Head, ImageInput
made = onnx_from_onnx(
    Path(sys.argv[1]).read_bytes(), input=ImageInput(height=32, width=32),
    head=Head(layer="", classes=tuple("0123456789"), temperature=1.7))
print(hashlib.sha256(made).hexdigest(), "torch" in sys.modules)
"""


def test_two_processes_write_the_same_bytes_without_torch(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(legacy_export(small, SHAPE, 11))
    said = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, path],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert said.pop().split()[1] == "False"


def test_an_operator_that_cannot_be_converted_is_said() -> None:
    # Upsample left the standard with opset 10.
    nodes = [
        node("Upsample", ["x", "scales"], ["u"]),
        node("Flatten", ["u"], ["f"]),
        node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = {"scales": np.array([1.0, 1, 2, 2]), "w": np.ones((12, 10))}
    model = made(nodes, weights, {"x": [1, 3, 1, 1]}, {"y": [1, 10]}, opset=9)
    with pytest.raises(ModelError, match="Upsample"):
        onnx_from_onnx(model, input=TensorInput(shape=(3, 1, 1)), head=HEAD)


@pytest.mark.parametrize("temperature", [0.0, float("nan")])
def test_a_temperature_must_be_positive(temperature: float) -> None:
    head = Head(layer="", classes=CLASSES, temperature=temperature)
    with pytest.raises(ModelError, match="temperature"):
        onnx_from_onnx(keras_like(), input=IMAGE, head=head)


@pytest.mark.parametrize("opset", [17, 99])
def test_the_opset_that_is_asked_for(opset: int) -> None:
    with pytest.raises(ModelError, match="opset: got"):
        onnx_from_onnx(keras_like(), input=IMAGE, head=HEAD, opset=opset)


def test_the_temperature_divides_the_weights() -> None:
    plain, warm = (
        onnx_from_onnx(
            keras_like(), input=IMAGE, head=Head(layer="", classes=CLASSES, temperature=t)
        )
        for t in (1.0, 4.0)
    )
    one, four = (
        {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(m).graph.initializer}
        for m in (plain, warm)
    )
    changed = {name for name in one if not np.array_equal(one[name], four[name])}
    assert changed == {"dense/MatMul/ReadVariableOp:0", "dense/BiasAdd/ReadVariableOp:0"}
    for name in changed:
        np.testing.assert_allclose(four[name] * 4, one[name], rtol=1e-6)
