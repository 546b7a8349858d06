from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgetl.backends.base import Backend
from edgetl.backends.fake import FakeBackend
from edgetl.backends.registry import available, describe, load, names
from edgetl.errors import BackendError, UsageError
from edgetl.spec import Precision, TensorSpec, Variant
from tests.backends.conformance import network_calls, run_script
from tests.backends.helpers.models import conv_net


def variant(backend: str) -> Variant:
    return Variant(id="v", backend=backend, precision=Precision.FP32, files=("model.onnx",))


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
