"""Small ONNX models whose answers differ from input to input, and independent answers to them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

SIZE, CLASSES = 16, 5


def images(count: int, seed: int = 7) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Uint8 [count, 16, 16, 3]: stripes of random colour, period and direction."""
    random = np.random.default_rng(seed)
    grid = np.mgrid[:SIZE, :SIZE]
    made = []
    for _ in range(count):
        wave = np.sin((grid * random.normal(0, 1.2, (2, 1, 1))).sum(0) + random.uniform(0, 6))
        colour, other = random.uniform(0, 255, (2, 3))
        made.append(colour + (other - colour) * (wave[..., None] + 1) / 2)
    return np.clip(np.rint(made), 0, 255).astype(np.uint8)


@cache
def conv_net() -> bytes:
    """uint8 [batch, 16, 16, 3] -> probabilities [batch, 5], through two convolutions."""
    random = np.random.default_rng(3)
    weights = {
        "scale": np.full((1, 3, 1, 1), 1 / 58, np.float32),
        "shift": np.full((1, 3, 1, 1), -2.2, np.float32),
        "w1": random.normal(0, 0.4, (16, 3, 3, 3)),
        "b1": random.normal(0, 0.3, 16),
        "w2": random.normal(0, 0.2, (24, 16, 3, 3)),
        "b2": random.normal(0, 0.3, 24),
        "w3": random.normal(0, 0.9, (24, CLASSES)),
        "b3": np.zeros(CLASSES),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["nchw", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["normal"]),
        helper.make_node("Conv", ["normal", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv2", strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["logits"], name="head"),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    # The head is centred, so that no class wins everywhere.
    model = _model(nodes, weights, _image_input(), CLASSES)
    logits = _logits(model, images(64, seed=1))
    weights["b3"] = -logits.mean(0)
    return _model(nodes, weights, _image_input(), CLASSES)


@cache
def root_net() -> bytes:
    """float32 [batch, 3] -> probabilities, the square root: NaN where the input is negative."""
    nodes = [helper.make_node("Sqrt", ["features"], ["probabilities"], name="root")]
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 3])
    return _model(nodes, {}, features, 3)


@cache
def int8_net() -> bytes:
    """`conv_net` with static QDQ: unsigned activations, per-channel weights, head in float."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    class Reader:
        def __init__(self) -> None:
            self.left = iter(images(64, seed=1)[:, None])

        def get_next(self) -> dict[str, Any] | None:
            one = next(self.left, None)
            return None if one is None else {"image": one}

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(conv_net())
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["Conv"],
        )
        return target.read_bytes()


@cache
def answers(model: bytes, count: int, seed: int = 7) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The probabilities by ONNX's own reference implementation, in numpy."""
    (found,) = _evaluator(model).run(None, {"image": images(count, seed)})
    return np.asarray(found)


@cache
def _evaluator(model: bytes) -> ReferenceEvaluator:
    return ReferenceEvaluator(onnx.load_from_string(model))


def _logits(model: bytes, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    (found,) = ReferenceEvaluator(onnx.load_from_string(model)).run(None, {"image": batch})
    return np.log(found)


def _image_input() -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIZE, SIZE, 3])


def _model(
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray[Any, Any]],
    given: onnx.ValueInfoProto,
    classes: int,
) -> bytes:
    answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", classes])
    held = [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()]
    graph = helper.make_graph(nodes, "net", [given], [answer], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    made: bytes = model.SerializeToString()
    return made
