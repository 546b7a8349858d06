from __future__ import annotations

import sys

import pytest

from edgetl.backends import ort
from edgetl.backends.registry import available, describe, load
from edgetl.errors import ConfigError, MissingExtraError, ModelError, UnavailableError, UsageError
from edgetl.spec import Precision, Setting, Variant
from tests.backends.conformance import BackendConformance
from tests.backends.helpers.models import conv_net, int8_net


def variant(precision: str = "fp32", **settings: Setting) -> Variant:
    return Variant(
        id=f"ort-{precision}",
        backend="onnxruntime",
        precision=Precision(precision),
        files=("model.onnx",),
        settings=settings,
    )


def files() -> dict[str, bytes]:
    return {"model.onnx": conv_net()}


class TestOrtFp32(BackendConformance):
    name = "onnxruntime"
    layers = {"Conv": {"f32"}, "Gemm": {"f32"}, "QLinearConv": set()}  # noqa: RUF012


class TestOrtInt8(BackendConformance):
    name = "onnxruntime"
    precision = Precision.INT8
    # One step of an 8-bit activation, which the kernel and the reference may round differently.
    tolerance = 0.02
    layers = {"Conv": set(), "QLinearConv": {"u8"}, "Gemm": {"f32"}}  # noqa: RUF012

    @classmethod
    def image_model(cls) -> bytes:
        return int8_net()


def test_settings_are_read_back() -> None:
    backend = load(variant(), files(), threads=2)
    execution = describe(backend)
    assert execution.device == "CPUExecutionProvider"
    assert execution.threads == 2
    assert dict(execution.settings) == {
        "intra_op_threads": 2,
        "inter_op_threads": 1,
        "execution_mode": "ORT_SEQUENTIAL",
        "graph_optimization": "ORT_ENABLE_ALL",
        "session.intra_op.allow_spinning": "1",
        "session.intra_op.spin_duration_us": "200",
        "session.load_model_format": "ONNX",
    }


def test_an_absent_provider_is_not_replaced() -> None:
    with pytest.raises(UnavailableError, match="CUDAExecutionProvider") as error:
        load(variant(provider="CUDAExecutionProvider"), files())
    assert error.value.exit_code == 3


def test_a_provider_that_onnxruntime_drops_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    # A build with CUDA on a machine without it: listed, then left out with a warning.
    runtime = ort.import_onnxruntime()
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(runtime, "get_available_providers", lambda: both)
    monkeypatch.setattr(runtime, "InferenceSession", _Dropping)
    with pytest.raises(UnavailableError, match="CPUExecutionProvider in its place"):
        load(variant(provider="CUDAExecutionProvider"), files())


class _Dropping:
    def __init__(self, *args: object, **kwargs: object) -> None:
        """As ONNX Runtime does, this says nothing."""

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_that_it_does_not_have(precision: str) -> None:
    with pytest.raises(UnavailableError, match=precision):
        load(variant(precision), files())


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgetl\[cpu\]'"):
        load(variant(), files())
    assert available()["onnxruntime"] == "not installed: pip install 'edgetl[cpu]'"
    assert available()["openvino"] is True


@pytest.mark.parametrize("threads", [0, -1, True, 1.5])
def test_threads_that_are_none(threads: int) -> None:
    with pytest.raises(UsageError, match="threads"):
        load(variant(), files(), threads=threads)


def test_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'provider'"):
        load(variant(providers="CPUExecutionProvider"), files())
    with pytest.raises(ConfigError, match="a text"):
        load(variant(provider=3), files())


def test_missing_file() -> None:
    with pytest.raises(ModelError, match=r"without \['model.onnx'\]"):
        load(variant(), {"other.onnx": conv_net()})


def test_all_cores_unless_told() -> None:
    assert describe(load(variant(), files())).threads == len(__import__("os").sched_getaffinity(0))
