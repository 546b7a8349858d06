from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgetl.backends.base import Backend
from edgetl.backends.fake import FakeBackend
from edgetl.backends.registry import available, describe, load, names, on_device, with_devices
from edgetl.errors import BackendError, ConfigError, UsageError
from edgetl.spec import Precision, Setting, TensorSpec, Variant
from tests.backends.conformance import network_calls, run_script
from tests.backends.helpers.models import conv_net


def variant(backend: str, **settings: Setting) -> Variant:
    return Variant(
        id="v",
        backend=backend,
        precision=Precision.FP32,
        files=("model.onnx",),
        settings=settings,
    )


def test_importing_it_imports_no_runtime(tmp_path: Path) -> None:
    script = (
        "import sys; import edgetl.backends.registry as r; r.available(); r.names()\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'openvino', 'openvino_telemetry', 'scipy'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    assert run_script(script, tmp_path) == "[]"


def test_unknown_backend_lists_the_known() -> None:
    with pytest.raises(
        UsageError, match="one of openvino, onnxruntime; to fix: did you mean 'openvino'"
    ):
        load(variant("openvin"), {})
    with pytest.raises(UsageError, match="one of openvino, onnxruntime"):
        load(variant("cuda-something"), {})
    assert names() == ("openvino", "onnxruntime")


def test_both_are_available_here() -> None:
    assert available() == {"openvino": True, "onnxruntime": True}


def test_a_path_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    monkeypatch.chdir(tmp_path)
    backend = load(variant("onnxruntime"), {"model.onnx": conv_net()})
    assert isinstance(backend, Backend)


def test_a_variant_is_put_on_a_device() -> None:
    placed = on_device(variant("openvino", device="CPU", static_batch=2), "GPU.1")
    assert placed == variant("openvino", device="GPU.1", static_batch=2)
    assert with_devices() == ("openvino",)
    with pytest.raises(ConfigError, match="OpenVINO device"):
        on_device(variant("openvino"), "gpu")


def test_onnxruntime_has_the_cpu_only() -> None:
    assert on_device(variant("onnxruntime"), "CPU") == variant("onnxruntime")
    for backend, device, provider in (
        ("onnxruntime", "GPU", "CPUExecutionProvider"),
        ("onnxruntime", "CPU", "CUDAExecutionProvider"),
        ("elsewhere", "GPU", "CPUExecutionProvider"),
    ):
        with pytest.raises(UsageError, match=r"expected CPU, .* or ask for the backend openvino"):
            on_device(variant(backend, provider=provider), device)


def test_describe_wants_a_backend_that_can_tell() -> None:
    class Silent:
        input_spec: dict[str, TensorSpec] = {}  # noqa: RUF012
        output_spec: dict[str, TensorSpec] = {}  # noqa: RUF012

        def run(self, inputs: object) -> dict[str, np.ndarray]:
            return {}

        def close(self) -> None:
            """Nothing is held."""

    with pytest.raises(BackendError, match="Silent"):
        describe(Silent())
    closed = FakeBackend(dict, input_spec={}, output_spec={})
    closed.close()
    with pytest.raises(BackendError, match="after close"):
        describe(closed)


def test_what_a_runtime_cannot_load_is_said_in_its_words() -> None:
    model = onnx.load_from_string(conv_net())
    model.graph.node[4].input[1] = "nowhere"
    with pytest.raises(BackendError, match="nowhere"):
        load(variant("onnxruntime"), {"model.onnx": model.SerializeToString()})


@pytest.mark.needs_strace
def test_the_trace_would_show_a_socket(tmp_path: Path) -> None:
    script = (
        "import socket; s = socket.socket(); s.settimeout(1)\n"
        "print(s.connect_ex(('127.0.0.1', 9)) != 0); s.close()"
    )
    trace = tmp_path / "trace"
    assert run_script(script, tmp_path, trace=trace) == "True"
    assert len(network_calls(trace)) >= 2
