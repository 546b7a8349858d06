from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.backends.openvino import import_openvino
from edgetl.backends.openvino_device import (
    check_device,
    check_device_name,
    chosen_device,
    compiled_model,
    device_settings,
)
from edgetl.errors import ConfigError, ModelError, UnavailableError

ALL = (
    "PERFORMANCE_HINT",
    "NUM_STREAMS",
    "INFERENCE_NUM_THREADS",
    "INFERENCE_PRECISION_HINT",
    "ENABLE_CPU_PINNING",
)


@dataclass
class Core:
    """A machine with other devices than this one, as OpenVINO's core describes it."""

    available_devices: list[str]
    supported: tuple[str, ...] = ALL
    capabilities: tuple[str, ...] = ("FP32", "FP16", "INT8")
    numbers: tuple[str, ...] = ("0",)
    refuses_free_batch: bool = False
    compiled: list[tuple[Any, str]] = field(default_factory=list)

    def get_property(self, device: str, key: str) -> Any:
        return {
            "SUPPORTED_PROPERTIES": dict.fromkeys(self.supported, "RW"),
            "OPTIMIZATION_CAPABILITIES": list(self.capabilities),
            "AVAILABLE_DEVICES": list(self.numbers),
        }[key]

    def compile_model(self, model: Any, device: str, settings: dict[str, Any]) -> str:
        shape = model.inputs[0].partial_shape
        self.compiled.append((str(shape), device))
        if self.refuses_free_batch and shape[0].is_dynamic:
            raise RuntimeError("dynamic shapes are not supported")
        return "compiled"


def tiny_model(*, follows_batch: bool = True) -> Any:
    ov = import_openvino()
    from openvino import opset13 as ops

    given = ops.parameter([-1, 4], np.float32, name="x")
    given.output(0).set_names({"x"})
    found = ops.softmax(given, 1) if follows_batch else ops.reshape(given, [-1, 2], False)
    found.output(0).set_names({"probabilities"})
    return ov.Model([found], [given], "tiny")


@pytest.mark.parametrize(
    "name", ["CPU", "GPU", "GPU.0", "GPU.1", "NPU", "AUTO", "AUTO:CPU", "AUTO:GPU.1,NPU,CPU"]
)
def test_names_of_one_device(name: str) -> None:
    check_device_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "cpu", "CPU,GPU", "GPU.", "AUTO:", "AUTO:,CPU", "AUTO:-CPU", "AUTO:AUTO", "CPU:GPU",
     "AUTO:CPU(2)", "GPU 0", "../CPU", "CPU\n"],
)  # fmt: skip
def test_what_is_no_name_of_a_device(name: str) -> None:
    with pytest.raises(ConfigError, match="OpenVINO device") as error:
        check_device_name(name)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("name", ["MULTI:GPU,CPU", "HETERO:GPU,CPU", "BATCH:GPU", "MULTI"])
def test_several_devices_at_once_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="several devices answer"):
        check_device_name(name)


def test_the_nearest_name_is_said() -> None:
    with pytest.raises(ConfigError, match="did you mean 'GPU'"):
        check_device_name("gpu")


@pytest.mark.parametrize(
    ("here", "numbers", "asked"),
    [
        (["CPU", "GPU"], ("0",), "GPU"),
        (["CPU", "GPU"], ("0",), "GPU.0"),
        (["CPU", "GPU.0", "GPU.1"], ("0", "1"), "GPU"),
        (["CPU", "GPU.0", "GPU.1"], ("0", "1"), "GPU.1"),
        (["CPU", "GPU"], ("0",), "AUTO:GPU.0,CPU"),
        (["CPU"], ("",), "AUTO"),
    ],
)
def test_devices_that_are_here(here: list[str], numbers: tuple[str, ...], asked: str) -> None:
    check_device(Core(here, numbers=numbers), asked)


@pytest.mark.parametrize(
    ("here", "numbers", "asked"),
    [
        (["CPU"], ("",), "GPU"),
        (["CPU"], ("",), "CPU.0"),
        (["CPU", "GPU"], ("0",), "GPU.1"),
        (["CPU", "GPU"], ("0",), "NPU"),
        (["CPU", "GPU"], ("0",), "AUTO:NPU,CPU"),
        ([], ("",), "CPU"),
    ],
)
def test_devices_that_are_absent(here: list[str], numbers: tuple[str, ...], asked: str) -> None:
    with pytest.raises(UnavailableError, match="got a machine with") as error:
        check_device(Core(here, numbers=numbers), asked)
    assert error.value.exit_code == 3
    assert (", ".join(here) or "no device") in error.value.got


def test_a_device_is_told_only_what_it_has() -> None:
    npu = Core(["NPU"], supported=("PERFORMANCE_HINT",), capabilities=("FP16", "INT8"))
    assert device_settings(npu, "NPU", threads=3, hint="f16", cache_dir=Path("/c")) == {
        "PERFORMANCE_HINT": "LATENCY",
        "CACHE_DIR": "/c",
    }
    cpu = device_settings(Core(["CPU"]), "CPU", threads=3, hint="f32", cache_dir=None)
    assert set(cpu) == set(ALL)
    assert (cpu["INFERENCE_NUM_THREADS"], cpu["INFERENCE_PRECISION_HINT"]) == (3, "f32")


@pytest.mark.parametrize(
    ("capabilities", "hint", "missing"),
    [
        (("FP32", "INT8"), "bf16", "BF16"),
        (("FP32", "INT8"), "f16", "FP16"),
        (("FP16", "INT8"), "f32", "FP32"),
        (("FP16", "INT8"), "bf16", "BF16"),
    ],
)
def test_a_precision_that_the_device_does_not_have(
    capabilities: tuple[str, ...], hint: str, missing: str
) -> None:
    core = Core(["X"], capabilities=capabilities)
    with pytest.raises(UnavailableError, match=f"expected {missing}") as error:
        device_settings(core, "X", threads=1, hint=hint, cache_dir=None)
    assert error.value.exit_code == 3


def test_a_precision_that_the_device_cannot_be_told() -> None:
    # It has FP32 and FP16 and no property to choose: nobody knows which it takes.
    silent = Core(["X"], supported=("PERFORMANCE_HINT",))
    with pytest.raises(UnavailableError, match="expected FP16"):
        device_settings(silent, "X", threads=1, hint="f16", cache_dir=None)


def test_an_npu_gets_a_batch_of_one() -> None:
    core = Core(["NPU"])
    assert compiled_model(core, tiny_model(), "NPU", {}, None) == ("compiled", 1)
    assert core.compiled == [("[1,4]", "NPU")]


@pytest.mark.parametrize("asked", [1, 4])
def test_the_batch_that_was_asked_is_fixed(asked: int) -> None:
    core = Core(["CPU"])
    assert compiled_model(core, tiny_model(), "CPU", {}, asked) == ("compiled", asked)
    assert core.compiled == [(f"[{asked},4]", "CPU")]


def test_a_device_that_refuses_a_free_batch_gets_one() -> None:
    core = Core(["GPU"], refuses_free_batch=True)
    assert compiled_model(core, tiny_model(), "GPU", {}, None) == ("compiled", 1)
    assert core.compiled == [("[?,4]", "GPU"), ("[1,4]", "GPU")]


def test_the_cpu_takes_a_free_batch_or_says_why_not() -> None:
    assert compiled_model(Core(["CPU"]), tiny_model(), "CPU", {}, None) == ("compiled", None)
    with pytest.raises(RuntimeError, match="dynamic"):
        compiled_model(Core(["CPU"], refuses_free_batch=True), tiny_model(), "CPU", {}, None)


def test_a_model_whose_batch_is_fixed_stays_so() -> None:
    model = tiny_model()
    model.reshape([2, 4])
    core = Core(["NPU"])
    assert compiled_model(core, model, "NPU", {}, None) == ("compiled", None)
    assert core.compiled == [("[2,4]", "NPU")]


def test_an_output_that_does_not_follow_the_batch_is_refused() -> None:
    with pytest.raises(ModelError, match="one row for each row"):
        compiled_model(Core(["CPU"]), tiny_model(follows_batch=False), "CPU", {}, 1)


def test_auto_chooses_a_device_that_is_here() -> None:
    core = import_openvino().Core()
    assert chosen_device(core, tiny_model(), "AUTO") in core.available_devices
    assert chosen_device(core, tiny_model(), "GPU.1") == "GPU.1"
