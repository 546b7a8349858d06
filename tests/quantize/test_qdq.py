from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgetl.errors import DataError, ModelError
from edgetl.export.onnx_from_torch import onnx_from_torch
from edgetl.quantize.onnx_runtime import operator_histogram
from edgetl.quantize.qdq import int8_from_fp32
from edgetl.spec import Head, TensorInput


def run(model: bytes, name: str, x: NDArray[np.generic]) -> NDArray[np.float64]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {name: x})[0].astype(np.float64)


def nll(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


@pytest.fixture(scope="module")
def int8(digits) -> bytes:
    return int8_from_fp32(digits.model, {"image": digits.ptq_samples})


@pytest.fixture(scope="module")
def usual(digits, tmp_path_factory) -> bytes:
    """What ONNX Runtime's quantizer makes of the same model with its defaults."""
    from onnxruntime.quantization import quantize_static

    class Reader:
        def __init__(self) -> None:
            self.left = iter(digits.ptq_samples)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            sample = next(self.left, None)
            return None if sample is None else {"image": sample[None]}

    path = tmp_path_factory.mktemp("usual") / "int8.onnx"
    quantize_static(onnx.load_from_string(digits.model), path, Reader())
    return path.read_bytes()


def test_every_convolution_is_executed_on_integers(digits, int8: bytes) -> None:
    written = Counter(node.op_type for node in onnx.load_from_string(digits.model).graph.node)
    executed = operator_histogram(int8)
    assert executed["QLinearConv"] == written["Conv"] == 6
    assert executed["QLinearAdd"] == 3
    assert not {"Conv", "FusedConv", "Relu"} & executed.keys()
    # One step into integers and one back: nothing goes to and fro between.
    assert executed["QuantizeLinear"] == executed["DequantizeLinear"] == 1


def test_head_and_preprocessing_are_executed_in_float(int8: bytes) -> None:
    executed = operator_histogram(int8)
    assert executed["Gemm"] == executed["Softmax"] == executed["Mul"] == 1
    assert not {"QGemm", "QLinearMatMul", "QLinearSoftmax"} & executed.keys()
    graph = onnx.load_from_string(int8).graph
    head = next(node for node in graph.node if node.op_type == "Gemm")
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert [types[name] for name in head.input[1:]] == [TensorProto.FLOAT, TensorProto.FLOAT]


@pytest.mark.parametrize("target", ["u8s8", "s8s8"])
def test_int8_answers_stay_near_fp32(digits, target: str) -> None:
    model = int8_from_fp32(digits.model, {"image": digits.ptq_samples}, target=target)
    reference = run(digits.model, "image", digits.images)
    candidate = run(model, "image", digits.images)
    assert (reference.argmax(axis=1) == digits.labels).mean() > 0.95
    assert (reference.argmax(axis=1) == candidate.argmax(axis=1)).mean() > 0.99
    assert np.abs(candidate.sum(axis=1) - 1).max() < 1e-6
    assert abs(nll(candidate, digits.labels) - nll(reference, digits.labels)) < 0.005


def test_a_head_in_float_keeps_the_likelihood_that_the_usual_defaults_lose(
    digits, int8: bytes, usual: bytes, record_property
) -> None:
    assert {"QGemm", "QLinearSoftmax"} <= operator_histogram(usual).keys()
    answers = {
        name: run(model, "image", digits.images)
        for name, model in {"fp32": digits.model, "ours": int8, "usual": usual}.items()
    }
    loss = {name: nll(answer, digits.labels) for name, answer in answers.items()}
    for name, value in loss.items():
        record_property(f"nll_{name}", value)
    assert loss["usual"] - loss["fp32"] > 0.001
    assert abs(loss["ours"] - loss["fp32"]) < 0.5 * (loss["usual"] - loss["fp32"])
    # An 8-bit softmax does not even sum to 1.
    assert np.abs(answers["usual"].sum(axis=1) - 1).max() > 0.003
    assert np.abs(answers["ours"].sum(axis=1) - 1).max() < 1e-6


@pytest.mark.parametrize(
    ("target", "dtype", "zero"),
    [("u8s8", np.uint8, False), ("s8s8", np.int8, True)],
)
def test_a_target_decides_the_activations_and_weights_are_per_channel(
    digits, target: str, dtype: type, zero: bool
) -> None:
    graph = onnx.load_from_string(
        int8_from_fp32(digits.model, {"image": digits.ptq_samples}, target=target)
    ).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    points = [arrays[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert {point.dtype for point in points} == {np.dtype(dtype)}
    assert all(point == 0 for point in points) is zero
    made = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    kernels = [made[node.input[1]] for node in graph.node if node.op_type == "Conv"]
    for kernel in kernels:
        assert arrays[kernel.input[0]].dtype == np.int8
        assert arrays[kernel.input[1]].shape == arrays[kernel.input[0]].shape[:1]


def test_additions_of_a_transformer_stay_in_float() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(6)
            self.up = nn.Linear(6, 24)
            self.down = nn.Linear(24, 6)
            self.head = nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x + self.down(torch.nn.functional.gelu(self.up(self.norm(x))))
            return self.head(x.mean(dim=1))

    torch.manual_seed(0)
    head = Head(layer="head", classes=("a", "b", "c"))
    model = onnx_from_torch(Residual(), input=TensorInput(shape=(5, 6)), head=head)
    x = np.random.default_rng(0).normal(size=(40, 5, 6)).astype(np.float32)
    quantized = int8_from_fp32(model, {"features": x})
    executed = operator_histogram(quantized)
    assert "QLinearAdd" not in executed
    assert {"QLinearMatMul", "MatMulInteger", "QGemm", "MatMulIntegerToFloat"} & executed.keys()
    np.testing.assert_allclose(run(quantized, "features", x), run(model, "features", x), atol=0.02)


def test_batch_norm_that_is_left_in_the_file_is_folded() -> None:
    rng = np.random.default_rng(0)
    numbers = {
        "w": rng.normal(size=(4, 3, 3, 3)),
        "scale": rng.uniform(0.5, 2, 4),
        "shift": rng.normal(size=4),
        "mean": rng.normal(size=4),
        "var": rng.uniform(0.5, 2, 4),
        "axes": np.array([2, 3]),
        "v": rng.normal(size=(4, 3)),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("ReduceMean", ["r", "axes"], ["p"], keepdims=0),
        helper.make_node("MatMul", ["p", "v"], ["z"]),
        helper.make_node("Softmax", ["z"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])],
        [
            numpy_helper.from_array(a.astype(np.int64 if a.dtype.kind == "i" else np.float32), n)
            for n, a in numbers.items()
        ],
    )
    opset = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, ir_version=10, opset_imports=opset).SerializeToString()
    x = rng.normal(size=(30, 3, 8, 8)).astype(np.float32)
    quantized = int8_from_fp32(model, {"image": x})
    assert quantized == int8_from_fp32(model, {"image": x})
    executed = operator_histogram(quantized)
    assert executed["QLinearConv"] == 1
    assert not {"BatchNormalization", "Conv", "Relu"} & executed.keys()
    np.testing.assert_allclose(run(quantized, "image", x), run(model, "image", x), atol=0.03)


SCRIPT = """
import hashlib, sys, warnings
warnings.simplefilter("error")
from pathlib import Path
import numpy as np
from edgetl.quantize.qdq import int8_from_fp32
samples = np.load(sys.argv[2])
int8 = int8_from_fp32(Path(sys.argv[1]).read_bytes(), {"image": samples})
print(hashlib.sha256(int8).hexdigest())
"""


def test_two_fresh_processes_write_the_same_bytes_and_leave_nothing(
    digits, int8: bytes, tmp_path: Path
) -> None:
    (tmp_path / "fp32.onnx").write_bytes(digits.model)
    np.save(tmp_path / "samples.npy", digits.ptq_samples)
    empty = tmp_path / "empty"
    empty.mkdir()
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, tmp_path / "fp32.onnx", tmp_path / "samples.npy"],
            env={**os.environ, "PYTHONHASHSEED": seed, "TMPDIR": str(empty)},
            cwd=empty,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    answers = [run.communicate() for run in runs]
    assert all(error == "" for _, error in answers)
    assert answers[0][0] == answers[1][0]
    assert len(answers[0][0].split()) == 1
    assert not list(empty.iterdir())


def test_it_is_quiet_and_leaves_the_loggers_alone(digits, caplog, capfd) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    int8_from_fp32(digits.model, {"image": digits.ptq_samples[:20]})
    assert (list(root.handlers), root.level) == before
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_the_file_says_nothing_of_its_making(int8: bytes) -> None:
    proto = onnx.load_from_string(int8)
    assert proto.producer_name == "edgetl"
    assert not proto.metadata_props
    assert [item.domain for item in proto.opset_import] == [""]


def test_bad_samples_are_refused(digits) -> None:
    with pytest.raises(DataError, match="none"):
        int8_from_fp32(digits.model, {"image": digits.ptq_samples[:0]})
    with pytest.raises(DataError, match="constant data"):
        int8_from_fp32(digits.model, {"image": np.zeros((4, 32, 32, 3), np.uint8)})


def test_a_model_that_is_quantized_already_is_refused(digits, int8: bytes) -> None:
    with pytest.raises(ModelError, match="quantized already"):
        int8_from_fp32(int8, {"image": digits.ptq_samples})


def test_a_model_that_is_only_a_head_is_refused() -> None:
    head = Head(layer="", classes=("a", "b"))
    model = onnx_from_torch(nn.Linear(4, 2), input=TensorInput(shape=(4,)), head=head)
    with pytest.raises(ModelError, match="but the head's"):
        int8_from_fp32(model, {"features": np.eye(4, dtype=np.float32)})


class Attention(nn.Module):
    """One attention, and a head on the mean of its tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24, bias=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        weights = torch.softmax(query @ key.transpose(1, 2), dim=-1)
        return self.head((weights @ value).mean(dim=1))


def test_an_attentions_softmax_stays_in_float() -> None:
    torch.manual_seed(0)
    head = Head(layer="head", classes=("a", "b", "c"))
    model = onnx_from_torch(Attention(), input=TensorInput(shape=(16, 8)), head=head)
    samples = np.random.default_rng(0).normal(size=(64, 16, 8)).astype(np.float32)
    quantized = int8_from_fp32(model, {"features": samples})
    executed = operator_histogram(quantized)
    # ONNX Runtime's kernel for it wraps a probability over the observed range around to nearly 0.
    assert "QLinearSoftmax" not in executed and executed["Softmax"] == 2
    assert executed["MatMulIntegerToFloat"] + executed.get("QLinearMatMul", 0) == 3
    exact, rounded = (run(each, "features", samples) for each in (model, quantized))
    assert np.abs(rounded - exact).max() < 0.01 < exact.std(axis=0).max()
