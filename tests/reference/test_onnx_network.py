from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgetl.errors import DataError, ModelError, SpecError
from edgetl.reference.onnx_network import OnnxNetwork, look_like_probabilities
from edgetl.spec import ImageInput, SeveralInputs, TensorInput

FEATURES = TensorInput(shape=(4,))
X = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
node = helper.make_node


def file(
    *nodes: onnx.NodeProto,
    inputs: dict[str, list[int | str]],
    answer: str = "y",
    element: int = TensorProto.FLOAT,
    opset: int = 13,
    **weights: np.ndarray,
) -> bytes:
    batch = next(iter(inputs.values()))[0]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, element, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(answer, TensorProto.FLOAT, [batch, None])],
        [numpy_helper.from_array(value.astype(np.float32), n) for n, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, ir_version=8, opset_imports=opsets).SerializeToString()


W = np.random.default_rng(1).normal(size=(4, 3))


def linear(batch: int | str, *last: onnx.NodeProto) -> bytes:
    first = node("MatMul", ["x", "w"], ["z" if last else "y"])
    return file(first, *last, inputs={"x": [batch, 4]}, w=W)


def ask(model: bytes, x: np.ndarray = X, **options: str) -> np.ndarray:
    network = OnnxNetwork(model, input=FEATURES, threads=1, **options)
    try:
        return network.raw_logits({"features": x})
    finally:
        network.close()


@pytest.mark.parametrize("batch", ["n", 1, 2, 7, 16])
def test_any_number_of_samples_whatever_batch_the_file_has(batch: int | str) -> None:
    answers = ask(linear(batch))
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, X @ W, rtol=1e-5, atol=1e-6)


def test_probabilities_become_logits_but_for_a_number_a_row() -> None:
    softmax = node("Softmax", ["z"], ["y"])
    logits = X @ W
    answers = ask(linear("n", softmax))
    np.testing.assert_allclose(
        answers - answers.mean(axis=1, keepdims=True),
        logits - logits.mean(axis=1, keepdims=True),
        atol=1e-5,
    )
    np.testing.assert_allclose(np.exp(answers).sum(axis=1), 1, rtol=1e-5)


def test_log_probabilities_are_logits_as_they_are() -> None:
    answers = ask(linear("n", node("LogSoftmax", ["z"], ["y"])))
    np.testing.assert_allclose(np.exp(answers).sum(axis=1), 1, rtol=1e-5)


def test_logits_far_apart_stay_far_apart() -> None:
    """Where a floor of 1e-12 would bring 60 down to 27.6, which a temperature of 4 would show."""
    x = np.array([[60, 0, 0, 0]], np.float32)
    model = file(node("Softmax", ["x"], ["y"]), inputs={"x": [1, 4]})
    answers = ask(model, x)
    np.testing.assert_allclose(answers[0, 0] - answers[0, 1], 60, rtol=1e-4)
    beyond = ask(model, 10 * x)
    assert np.isfinite(beyond).all() and beyond[0, 1] < -87


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("pixel_range", ["0-1", "0-255"])
def test_pixels_reach_the_file_as_its_network_was_trained(
    layout: str, channels: str, pixel_range: str
) -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    image = ImageInput(
        height=4, width=5, channels=channels, pixel_range=pixel_range, mean=mean, std=std
    )
    sizes = [3, 4, 5] if layout == "NCHW" else [4, 5, 3]
    model = file(node("Flatten", ["x"], ["f"]), node("Mul", ["f", "one"], ["y"]),
                 inputs={"x": [1, *sizes]}, one=np.ones(1))  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3)).astype(np.uint8)
    network = OnnxNetwork(model, input=image, threads=1)
    answers = network.raw_logits({"image": pixels}).reshape(3, *sizes)
    assert network.facts()["layout"] == layout
    network.close()
    planes = answers if layout == "NCHW" else answers.transpose(0, 3, 1, 2)
    for plane in range(3):
        source = plane if channels == "rgb" else 2 - plane
        value = pixels[..., source] / (255 if pixel_range == "0-1" else 1)
        expected = (value - mean[plane]) / std[plane]
        np.testing.assert_allclose(planes[:, plane], expected, rtol=1e-5, atol=1e-5)


def test_the_file_itself_is_what_runs() -> None:
    """By ONNX's own reference implementation, which shares nothing with ONNX Runtime."""
    model = linear(1, node("Relu", ["z"], ["r"]), node("Mul", ["r", "r"], ["y"]))
    evaluator = ReferenceEvaluator(onnx.load_from_string(model))
    expected = np.concatenate([evaluator.run(None, {"x": row[None]})[0] for row in X])
    np.testing.assert_allclose(ask(model), expected, rtol=1e-5, atol=1e-6)


def test_several_inputs() -> None:
    parts = {"left": TensorInput(shape=(2,)), "right": TensorInput(shape=(2,))}
    model = file(
        node("Concat", ["left", "right"], ["c"], axis=1),
        node("MatMul", ["c", "w"], ["y"]),
        inputs={"left": [1, 2], "right": [1, 2]},
        w=W,
    )
    network = OnnxNetwork(model, input=SeveralInputs(parts=parts), threads=1)
    halves = {"right": X[:, 2:].copy(), "left": X[:, :2].copy()}
    np.testing.assert_allclose(network.raw_logits(halves), X @ W, rtol=1e-5, atol=1e-6)
    with pytest.raises(DataError, match="'right' among them"):
        network.raw_logits({"left": halves["left"]})
    with pytest.raises(DataError, match=r"batches of \[3, 7\]"):
        network.raw_logits({"left": halves["left"][:3], "right": halves["right"]})
    network.close()


def test_what_the_facts_say() -> None:
    model = linear(2, node("Softmax", ["z"], ["y"]))
    network = OnnxNetwork(model, input=FEATURES, threads=1)
    facts = network.facts()
    network.close()
    assert facts.pop("onnxruntime")
    assert facts == {"ending": "softmax", "opset": 13, "batch": 2, "layout": "as it is"}


def test_arrays_that_are_not_the_input_s() -> None:
    with pytest.raises(SpecError, match="float64"):
        ask(linear("n"), X.astype(np.float64))
    with pytest.raises(SpecError, match="shape"):
        ask(linear("n"), X[:, :3].copy())
    with pytest.raises(SpecError, match="NaN"):
        ask(linear("n"), X * np.float32("nan"))


def test_what_is_said_to_be_probabilities_must_be() -> None:
    with pytest.raises(ModelError, match="each row summing to 1"):
        ask(linear("n"), output="probabilities")


def test_what_looks_like_probabilities_must_be_said_to_be_or_not() -> None:
    half = np.full(1, 0.5)
    nodes = [
        node("Softmax", ["x"], ["a"]),
        node("Add", ["a", "a"], ["s"]),
        node("Mul", ["s", "half"], ["y"]),
    ]
    model = file(*nodes, inputs={"x": ["n", 4]}, half=half)
    with pytest.raises(ModelError, match='write output = "probabilities"'):
        ask(model)
    assert (ask(model, output="logits") > 0).all()
    assert (ask(model, output="probabilities") < 0).all()


def test_an_ending_that_says_nothing() -> None:
    with pytest.raises(ModelError, match="ends in Sigmoid"):
        ask(linear("n", node("Sigmoid", ["z"], ["y"])))


def test_one_number_is_no_classifier() -> None:
    model = file(node("MatMul", ["x", "w"], ["y"]), inputs={"x": [1, 4]}, w=W[:, :1])
    with pytest.raises(ModelError, match=r"the logits \[0, x\]"):
        ask(model)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[0.5, 0.5]], True),
        ([[0.5, 0.5], [0.5, 0.6]], False),
        ([[1.5, -0.5]], False),
        ([[float("nan"), 0.5]], False),
    ],
)
def test_what_looks_like_probabilities(rows: list[list[float]], expected: bool) -> None:
    assert look_like_probabilities(np.array(rows)) is expected


def test_it_imports_no_torch() -> None:
    code = "import sys, edgetl.reference.onnx_network; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
