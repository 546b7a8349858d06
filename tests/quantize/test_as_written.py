from __future__ import annotations

import numpy as np
import pytest

from edgetl.errors import ModelError
from edgetl.quantize.as_written import load_as_written
from edgetl.quantize.onnx_runtime import load_on_cpu
from edgetl.quantize.qdq import int8_from_fp32


@pytest.fixture(scope="module")
def quantized(digits) -> bytes:
    return int8_from_fp32(digits.model, {"image": digits.ptq_samples}, threads=1)


def kernels(backend) -> set[str]:
    return {layer.type for layer in backend.execution().layers}


def test_a_quantized_file_computes_in_float_between_its_roundings(digits, quantized) -> None:
    simulated, fused = load_as_written(quantized, threads=1), load_on_cpu(quantized, threads=1)
    assert {"Conv", "QuantizeLinear", "DequantizeLinear"} <= kernels(simulated)
    assert "QLinearConv" in kernels(fused) and "QLinearConv" not in kernels(simulated)
    some = {"image": digits.images[:64]}
    mine, theirs = (one.run(some)["probabilities"] for one in (simulated, fused))
    # Rounding to 8 bits hides how a sum was computed, or moves it by one step.
    assert np.abs(mine - theirs).max() < 0.05
    for backend in (simulated, fused):
        backend.close()


def test_what_a_backend_refuses_is_refused() -> None:
    with pytest.raises(ModelError, match="the FP32 file"):
        load_as_written(b"no model", subject="the FP32 file")
