from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.errors import BackendError, DataError, ModelError
from edgetl.quantize.observe import observe

RNG = np.random.default_rng(0)


def model(weights: np.ndarray, shape: tuple[int | str, ...] = ("batch", 6)) -> bytes:
    """features → Gemm → Relu → Gemm → Softmax, with names that say where they are."""
    out = RNG.normal(size=(weights.shape[1], 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "w"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["positive"]),
            helper.make_node("MatMul", ["positive", "v"], ["linear"]),
            helper.make_node("Softmax", ["linear"], ["probabilities"]),
        ],
        "g",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(out, "v")],
    )
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, ir_version=10, opset_imports=opset).SerializeToString()


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_ranges_are_the_extremes_over_all_samples(batch: int) -> None:
    weights = RNG.normal(size=(6, 8)).astype(np.float32)
    x = RNG.normal(size=(40, 6)).astype(np.float32)
    found = observe(
        model(weights), {"features": x}, tensors=["features", "hidden", "positive"], batch=batch
    )
    hidden = x.astype(np.float64) @ weights
    assert list(found) == ["features", "hidden", "positive"]
    assert (found["features"].low, found["features"].high) == (x.min(), x.max())
    assert found["hidden"].low == pytest.approx(hidden.min(), rel=1e-5)
    assert found["hidden"].high == pytest.approx(hidden.max(), rel=1e-5)
    assert found["positive"].low == 0


def test_an_activation_that_overflows_is_no_range() -> None:
    weights = np.full((6, 8), 3e38, np.float32)
    x = RNG.normal(size=(4, 6)).astype(np.float32) * 10
    with pytest.raises(BackendError, match="NaN or infinity"):
        observe(model(weights), {"features": x}, tensors=["hidden"])


def test_a_nan_that_only_the_answer_shows_is_found() -> None:
    # Infinity minus infinity, behind the tensor that is observed.
    weights = np.full((6, 8), 3e38, np.float32)
    with pytest.raises(BackendError, match="NaN or infinity"):
        observe(
            model(weights), {"features": np.float32([[1, 2] * 3, [3, 1] * 3])}, tensors=["features"]
        )


def test_a_sample_with_nan_is_refused() -> None:
    x = RNG.normal(size=(4, 6)).astype(np.float32)
    x[2] = np.nan
    with pytest.raises(DataError, match="sample 2"):
        observe(
            model(RNG.normal(size=(6, 8)).astype(np.float32)), {"features": x}, tensors=["hidden"]
        )


def test_a_fixed_batch_is_refused() -> None:
    fixed = model(RNG.normal(size=(6, 8)).astype(np.float32), shape=(1, 6))
    with pytest.raises(ModelError, match="a fixed batch size"):
        observe(fixed, {"features": RNG.normal(size=(4, 6)).astype(np.float32)}, tensors=["hidden"])


def test_memory_is_that_of_one_batch() -> None:
    size, width, count = 96, 64, 200
    kernel = RNG.normal(size=(width, 3, 1, 1)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["planes", "kernel"], ["wide"]),
            helper.make_node("ReduceMean", ["wide", "axes"], ["probabilities"], keepdims=0),
        ],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", size, size, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", width])],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(np.array([2, 3]), "axes"),
        ],
    )
    opset = [helper.make_opsetid("", 20)]
    proto: onnx.ModelProto = helper.make_model(graph, ir_version=10, opset_imports=opset)
    x = RNG.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    # Earlier tests have a peak of their own; this forgets it.
    Path("/proc/self/clear_refs").write_text("5")
    before = _kibibytes("VmRSS")
    observe(proto.SerializeToString(), {"image": x}, tensors=["wide"], batch=2)
    grown = _kibibytes("VmHWM") - before
    kept = count * width * size * size * 4 // 1024
    assert kept > 400_000
    assert grown < kept / 4


def _kibibytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])
