from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgetl.backends import openvino
from edgetl.backends.registry import available, describe, load
from edgetl.compile.openvino_from_onnx import openvino_from_onnx
from edgetl.errors import BackendError, ConfigError, MissingExtraError, ModelError, UnavailableError
from edgetl.spec import Precision, Setting, Variant
from tests.backends.conformance import BackendConformance, images, run_script
from tests.backends.helpers.models import conv_net, int8_net, root_net


@cache
def ir(model: bytes) -> dict[str, bytes]:
    xml, weights = openvino_from_onnx(model)
    return {"model.xml": xml, "model.bin": weights}


def variant(precision: str = "fp32", **settings: Setting) -> Variant:
    return Variant(
        id=f"openvino-{precision}",
        backend="openvino",
        precision=Precision(precision),
        files=("model.xml", "model.bin"),
        settings=settings,
    )


@cache
def has_bf16() -> bool:
    core = openvino.import_openvino().Core()
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoConformance(BackendConformance):
    name = "openvino"

    @classmethod
    def files(cls, model: bytes) -> dict[str, bytes]:
        return ir(model)


class TestOpenVinoFp32(OpenVinoConformance):
    layers = {"Convolution": {"f32"}, "FullyConnected": {"f32"}}  # noqa: RUF012

    def test_no_layer_is_in_bfloat16(self) -> None:
        execution = describe(self.open(conv_net()))
        assert execution.settings["INFERENCE_PRECISION_HINT"] == "f32"
        assert {layer.precision for layer in execution.layers} == {"f32", "u8"}


class TestOpenVinoBf16(OpenVinoConformance):
    precision = Precision.BF16
    tolerance = 0.05
    # The hint lowers the last linear layer too; the softmax stays in FP32.
    layers = {"Convolution": {"bf16"}, "FullyConnected": {"bf16"}, "Softmax": {"f32"}}  # noqa: RUF012

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _only_where_it_is(cls) -> None:
        if not has_bf16():
            pytest.skip("this CPU has no bfloat16")

    def test_the_hint_is_read_back(self) -> None:
        execution = describe(self.open(conv_net()))
        assert execution.settings["INFERENCE_PRECISION_HINT"] == "bf16"


class TestOpenVinoStaticBatch1(OpenVinoConformance):
    settings = {"static_batch": 1}  # noqa: RUF012
    layers = {"Convolution": {"f32"}, "FullyConnected": {"f32"}}  # noqa: RUF012


class TestOpenVinoStaticBatch4(OpenVinoConformance):
    settings = {"static_batch": 4}  # noqa: RUF012
    layers = {"Convolution": {"f32"}, "FullyConnected": {"f32"}}  # noqa: RUF012


class TestOpenVinoInt8(OpenVinoConformance):
    precision = Precision.INT8
    tolerance = 0.02
    layers = {"Convolution": {"u8"}, "FullyConnected": {"f32"}}  # noqa: RUF012

    @classmethod
    def image_model(cls) -> bytes:
        return int8_net()

    def test_the_float_part_is_chosen(self) -> None:
        if not has_bf16():
            pytest.skip("this CPU has no bfloat16")
        for name, expected in (("f32", False), ("bf16", True)):
            execution = describe(load(variant("int8", float_precision=name), ir(int8_net())))
            assert execution.settings["INFERENCE_PRECISION_HINT"] == name
            assert ("bf16" in {layer.precision for layer in execution.layers}) == expected


def test_settings_are_read_back(tmp_path: Path) -> None:
    execution = describe(load(variant(), ir(conv_net()), threads=1))
    assert execution.device == "CPU"
    assert dict(execution.settings) == {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
        "CACHE_DIR": False,
    }


def test_all_cores_unless_told() -> None:
    assert describe(load(variant(), ir(conv_net()))).threads == len(os.sched_getaffinity(0))


def test_the_cache_is_written_only_where_told(tmp_path: Path) -> None:
    load(variant(), ir(conv_net())).close()
    assert list(tmp_path.iterdir()) == []
    backend = load(variant(), ir(conv_net()), cache_dir=tmp_path)
    assert describe(backend).settings["CACHE_DIR"] is True
    assert list(tmp_path.iterdir())
    again = load(variant(), ir(conv_net()), cache_dir=tmp_path)
    given = {"image": images(2)}
    assert (again.run(given)["probabilities"] == backend.run(given)["probabilities"]).all()


def test_an_absent_device_is_not_replaced() -> None:
    core = openvino.import_openvino().Core()
    absent = next(name for name in ("GPU", "NPU", "GPU.7") if name not in core.available_devices)
    with pytest.raises(UnavailableError, match=f"device {absent}") as error:
        load(variant(device=absent), ir(conv_net()))
    assert error.value.exit_code == 3


@pytest.mark.parametrize("device", ["AUTO", "AUTO:CPU"])
def test_auto_is_the_device_that_it_chose(device: str) -> None:
    backend = load(variant(device=device), ir(conv_net()), threads=1)
    execution = describe(backend)
    assert execution.device == "CPU"
    assert execution.threads == 1
    assert execution.settings["device"] == device
    plain = load(variant(), ir(conv_net()), threads=1)
    assert set(describe(plain).settings) == set(execution.settings) - {"device"}
    assert describe(plain).layers == execution.layers
    given = {"image": images(3)}
    assert (backend.run(given)["probabilities"] == plain.run(given)["probabilities"]).all()


def test_of_a_list_each_device_must_be_here() -> None:
    with pytest.raises(UnavailableError, match=r"device NPU: got a machine with CPU"):
        load(variant(device="AUTO:CPU,NPU"), ir(conv_net()))


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_fixed_batch_answers_as_a_free_one(precision: str, batch: int) -> None:
    files = ir(conv_net() if precision == "fp32" else int8_net())
    free, fixed = (
        load(variant(precision), files),
        load(variant(precision, static_batch=batch), files),
    )
    assert dict(fixed.input_spec) == dict(free.input_spec)
    assert dict(fixed.output_spec) == dict(free.output_spec)
    for count in (1, 3, 4, 5, 9):
        given = {"image": images(count)}
        got, expected = (one.run(given)["probabilities"] for one in (fixed, free))
        # In INT8 another graph may round an activation by one step.
        allowed = 1e-6 if precision == "fp32" else TestOpenVinoInt8.tolerance
        np.testing.assert_allclose(got, expected, atol=allowed, rtol=0)
        alone = [fixed.run({"image": one[None]})["probabilities"] for one in images(count)]
        np.testing.assert_allclose(got, np.concatenate(alone), atol=1e-6, rtol=0)
    assert describe(fixed).settings["static_batch"] == batch
    assert "static_batch" not in describe(free).settings


def test_what_fills_a_batch_up_is_not_answered_with() -> None:
    # The square root of minus one is NaN: rows of no caller must not be looked at.
    backend = load(variant(static_batch=4), ir(root_net()))
    answer = backend.run({"features": np.full((6, 3), 4, np.float32)})["probabilities"]
    assert answer.shape == (6, 3)
    assert answer == pytest.approx(2)


@pytest.mark.parametrize("batch", [0, -1, True, 1.0, "1", 5000])
def test_a_fixed_batch_that_is_none(batch: Setting) -> None:
    with pytest.raises(ConfigError, match="'static_batch'"):
        load(variant(static_batch=batch), ir(conv_net()))


def test_bf16_is_had_or_refused() -> None:
    if has_bf16():
        load(variant("bf16"), ir(conv_net())).close()
        return
    with pytest.raises(UnavailableError, match="BF16"):
        load(variant("bf16"), ir(conv_net()))


def test_fp16_is_asked_only_where_it_is() -> None:
    core = openvino.import_openvino().Core()
    if "FP16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has float16")
    with pytest.raises(UnavailableError, match="FP16"):
        load(variant("fp16"), ir(conv_net()))


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    files = ir(conv_net())
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgetl\[openvino\]'"):
        load(variant(), files)
    assert available()["openvino"] == "not installed: pip install 'edgetl[openvino]'"
    assert available()["onnxruntime"] is True


def test_openvino_is_left_with_its_telemetry_stub(tmp_path: Path) -> None:
    script = (
        "from edgetl.backends.openvino import import_openvino; import_openvino()\n"
        "import sys; from openvino.tools.ovc import telemetry_utils\n"
        "print(telemetry_utils.tm.__name__, 'openvino_telemetry' in sys.modules)"
    )
    assert run_script(script, tmp_path) == "openvino.tools.ovc.telemetry_stub False"


def test_the_telemetry_package_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino_telemetry", SimpleNamespace(mark=1))  # type: ignore[misc]
    openvino.import_openvino()
    assert sys.modules["openvino_telemetry"].mark == 1
    monkeypatch.delitem(sys.modules, "openvino_telemetry")
    openvino.import_openvino()
    assert "openvino_telemetry" not in sys.modules


@pytest.mark.parametrize("settings", [{"float_precision": "f32"}, {"dvice": "CPU"}])
def test_settings_that_do_not_belong(settings: dict[str, Setting]) -> None:
    with pytest.raises(ConfigError):
        load(variant("fp32", **settings), ir(conv_net()))
    with pytest.raises(ConfigError, match="'f32', 'bf16' or 'f16'"):
        load(variant("int8", float_precision="u8"), ir(int8_net()))


def test_another_format_in_place_of_xml() -> None:
    with pytest.raises(ModelError, match="not XML"):
        load(variant(), {"model.xml": conv_net(), "model.bin": b""})


def test_weights_cut_short() -> None:
    files = ir(conv_net())
    with pytest.raises(BackendError):
        load(variant(), {**files, "model.bin": files["model.bin"][:-8]})


def test_xml_cut_short() -> None:
    files = ir(conv_net())
    with pytest.raises(BackendError):
        load(variant(), {**files, "model.xml": files["model.xml"][:-800]})


def test_one_file_is_not_an_ir() -> None:
    only = Variant(id="v", backend="openvino", precision=Precision.FP32, files=("model.xml",))
    with pytest.raises(ModelError, match="expected 2 file"):
        load(only, ir(conv_net()))
