from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgetl.bench import footprint
from edgetl.bench.footprint import measure_footprint, peak_rss_mb
from edgetl.errors import BackendError, EdgetlError, UsageError
from edgetl.spec import Precision, Variant

onnx = pytest.importorskip("onnx")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A classifier of four features into three classes."""
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    weights = onnx.numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "w"], ["z"]),
            helper.make_node("Softmax", ["z"], ["probabilities"], axis=-1),
        ],
        "made",
        [helper.make_tensor_value_info("features", floats, ["batch", 4])],
        [helper.make_tensor_value_info("probabilities", floats, ["batch", 3])],
        [weights],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = tmp_path / "made.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def _variant(backend: str = "onnxruntime") -> Variant:
    return Variant(id="made", backend=backend, precision=Precision.FP32, files=("made.onnx",))


def test_a_cold_start_is_measured_in_a_process_of_its_own(model):
    found = measure_footprint(_variant(), {"made.onnx": model}, threads=1, batch=2)
    assert found.load_ms > found.first_call_ms > 0
    assert 10 < found.peak_rss_mb < 2000
    assert found.size_mb == model.stat().st_size / 2**20


def test_the_peak_is_not_inherited_from_this_process(model):
    ballast = np.ones(40 << 20, np.uint8).reshape(-1)  # 40 MiB that the child must not count
    here = peak_rss_mb()
    there = measure_footprint(_variant(), {"made.onnx": model}, threads=1).peak_rss_mb
    assert ballast.sum() == 40 << 20
    assert here > 100
    assert there < here


def test_an_error_of_the_process_is_raised_here(model):
    with pytest.raises(UsageError, match="nonesuch"):
        measure_footprint(_variant("nonesuch"), {"made.onnx": model})
    model.write_bytes(b"no model")
    with pytest.raises(EdgetlError) as caught:
        measure_footprint(_variant(), {"made.onnx": model})
    assert type(caught.value) is not EdgetlError
    assert caught.value.fix


def test_a_process_that_dies_or_hangs_is_said(model, monkeypatch):
    with pytest.raises(BackendError, match=r"missing\.onnx"):
        measure_footprint(_variant(), {"made.onnx": model.parent / "missing.onnx"})

    def hang(*arguments, timeout, **more):
        raise subprocess.TimeoutExpired("python", timeout)

    monkeypatch.setattr(footprint.subprocess, "run", hang)
    with pytest.raises(BackendError, match="no answer within 7 s"):
        measure_footprint(_variant(), {"made.onnx": model}, timeout_seconds=7)
