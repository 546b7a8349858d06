"""OpenVINO: an IR in FP32, BF16 or INT8 on the CPU, or on a device asked for by name."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edgetl.backends.checked import CheckedBackend, check_threads, vendor_error
from edgetl.backends.execution import Execution, LayerExecution
from edgetl.backends.options import model_files, no_other_settings, text_setting
from edgetl.errors import ConfigError, ModelError, UnavailableError
from edgetl.extras import extra
from edgetl.spec import Array, Precision, Setting, TensorSpec, Variant

_HINTS = {Precision.FP32: "f32", Precision.BF16: "bf16", Precision.FP16: "f16"}
# What a device must say of itself before a precision is asked of it.
_CAPABILITIES = {"bf16": "BF16", "f16": "FP16"}
_TYPE_NAMES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_import_lock = threading.Lock()


def import_openvino() -> ModuleType:
    """OpenVINO, with its telemetry package out of its sight while it is imported.

    Raises:
        MissingExtraError: When it is not installed.
    """
    with _import_lock, _no_telemetry(), extra("openvino"):
        import openvino
    module: ModuleType = openvino
    return module


@contextmanager
def _no_telemetry() -> Iterator[None]:
    # OpenVINO sends an event when it is imported, unless the telemetry package cannot be found;
    # it looks once, so that the package can be given back to others afterwards.
    name = "openvino_telemetry"
    held = {key: module for key, module in sys.modules.items() if key.split(".")[0] == name}
    for key in (name, *held):
        sys.modules[key] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules.update(held)


def load(
    variant: Variant,
    files: Mapping[str, bytes],
    *,
    threads: int | None = None,
    cache_dir: Path | None = None,
) -> OpenVinoBackend:
    """Load an IR into OpenVINO; see `registry.load`.

    `variant.settings` may have ``device`` (default ``CPU``) and, for INT8 variants,
    ``float_precision``: ``f32`` (default) or ``bf16``, what the layers that stayed in floating
    point are computed in. `cache_dir` is where OpenVINO may keep compiled models.
    """
    count = check_threads(threads)
    no_other_settings(variant, {"device", "float_precision"})
    xml, weights = model_files(variant, files, 2)
    return OpenVinoBackend(
        xml,
        weights,
        subject=variant.id,
        threads=count,
        device=text_setting(variant, "device", "CPU"),
        hint=_hint(variant),
        cache_dir=cache_dir,
    )


class OpenVinoBackend(CheckedBackend):
    """One compiled model and a pool of infer requests, one per call that is under way.

    A request shared by two threads answers "busy" or, worse, with the other thread's answer.

    Args:
        xml, weights: The two files of an IR.
        subject: What to call the model in an error.
        threads: The threads of one call; OpenVINO takes no more than there are cores.
        device: An OpenVINO device; it is obtained, or UnavailableError is raised.
        hint: The floating-point precision to compute in: f32, bf16 or f16.
        cache_dir: Where OpenVINO may keep compiled models; None keeps none.
    """

    def __init__(
        self,
        xml: bytes,
        weights: bytes,
        *,
        subject: str,
        threads: int,
        device: str,
        hint: str,
        cache_dir: Path | None,
    ) -> None:
        self._openvino = import_openvino()
        core = self._openvino.Core()
        self._device = device
        _check_device(core, device, hint)
        # Any other format would be recognised too, and read without the checks that it needs.
        if not xml.lstrip().startswith((b"<?xml", b"<net")):
            raise ModelError(
                subject,
                got="a first file that is not XML",
                expected="an OpenVINO IR: the .xml file, then the .bin file",
                fix="list the variant's files in that order",
            )
        self._settings = _settings(threads, hint, cache_dir)
        try:
            model = core.read_model(xml, weights)
            _check_stateless(subject, model)
            self._compiled: Any = core.compile_model(model, device, self._settings)
        except RuntimeError as error:
            raise vendor_error(subject, error) from error
        _check_hint(self._compiled, subject, hint)
        super().__init__(
            subject,
            input_spec=_specs(subject, self._compiled.inputs),
            output_spec=_specs(subject, self._compiled.outputs),
        )
        self._pool: deque[_Request] = deque()

    def execution(self) -> Execution:
        """Read the compiled graph back, with the precision that each layer is executed in."""
        self._check_alive()
        compiled = self._compiled
        return Execution(
            backend="openvino",
            version=self._openvino.get_version(),
            device=",".join(compiled.get_property("EXECUTION_DEVICES")),
            threads=int(compiled.get_property("INFERENCE_NUM_THREADS")),
            settings={key: _plain(compiled, key) for key in self._settings if key != "CACHE_DIR"}
            | {"CACHE_DIR": "CACHE_DIR" in self._settings},
            layers=_layers(compiled.get_runtime_model()),
        )

    def _answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        # A request that raised is not put back, so that no half-done answer is found in it.
        try:
            request = self._pool.pop()
        except IndexError:
            request = _Request(self._openvino, self._compiled, self.output_spec)
        outputs = request.answer(inputs)
        self._pool.append(request)
        return outputs

    def _release(self) -> None:
        self._pool.clear()
        self._compiled = None


class _Request:
    """An infer request with input tensors of its own, which calls of the same shape reuse."""

    def __init__(
        self, openvino: ModuleType, compiled: Any, outputs: Mapping[str, TensorSpec]
    ) -> None:
        self._openvino = openvino
        self._request = compiled.create_infer_request()
        self._inputs: dict[str, Array] = {}
        self._ports = {name: compiled.output(name) for name in outputs}

    def answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        for name, array in inputs.items():
            held = self._inputs.get(name)
            if held is None or held.shape != array.shape:
                held = self._resize(name, array)
            held[...] = array
        self._request.infer(share_outputs=True)
        return {
            name: self._request.get_tensor(port).data.copy() for name, port in self._ports.items()
        }

    def _resize(self, name: str, array: Array) -> Array:
        tensor = self._openvino.Tensor(np.empty_like(array), shared_memory=False)
        self._request.set_tensor(name, tensor)
        held: Array = tensor.data
        self._inputs[name] = held
        return held


def _hint(variant: Variant) -> str:
    if variant.precision is not Precision.INT8:
        if "float_precision" in variant.settings:
            raise ConfigError(
                f"settings of {variant.id}",
                got=f"'float_precision' beside the precision {variant.precision}",
                expected="it only with int8",
                fix="remove it",
            )
        return _HINTS[variant.precision]
    hint = text_setting(variant, "float_precision", "f32")
    if hint not in ("f32", "bf16"):
        raise ConfigError(
            f"settings of {variant.id}, 'float_precision'",
            got=repr(hint),
            expected="'f32' or 'bf16'",
            fix="remove it for the default, 'f32'",
        )
    return hint


def _settings(threads: int, hint: str, cache_dir: Path | None) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": hint,
        # A pinned thread waits for its core when anything else runs there, and two classifiers
        # would be pinned to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    if cache_dir is not None:
        settings["CACHE_DIR"] = str(cache_dir)
    return settings


def _check_device(core: Any, device: str, hint: str) -> None:
    if device not in core.available_devices:
        raise UnavailableError(
            f"OpenVINO device {device}",
            got=f"a machine with {', '.join(core.available_devices) or 'no device'}",
            expected=device,
            fix="install the device's driver, or ask for another device",
        )
    needed = _CAPABILITIES.get(hint)
    capabilities = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    if needed is not None and needed not in capabilities:
        raise UnavailableError(
            f"OpenVINO device {device}",
            got=f"the precisions {', '.join(capabilities)}",
            expected=needed,
            fix="use an fp32 or int8 variant on this device",
        )


def _check_stateless(subject: str, model: Any) -> None:
    if model.get_variables():
        raise ModelError(
            subject,
            got="a model that remembers earlier calls",
            expected="answers that depend on the input alone",
            fix="export the model without variables",
        )


def _check_hint(compiled: Any, subject: str, hint: str) -> None:
    got = _plain(compiled, "INFERENCE_PRECISION_HINT")
    if got != hint:
        raise UnavailableError(
            subject,
            got=f"the precision {got} from OpenVINO",
            expected=hint,
            fix="use a variant of another precision on this device",
        )


def _plain(compiled: Any, key: str) -> Setting:
    value = compiled.get_property(key)
    if isinstance(value, str | int | float | bool):
        return value
    # Element types are objects that name themselves.
    name = str(value.get_type_name())
    return _TYPE_NAMES.get(name, name)


def _specs(subject: str, ports: list[Any]) -> dict[str, TensorSpec]:
    specs = {}
    for port in ports:
        if not port.names:
            raise ModelError(
                subject,
                got="an input or output without a name",
                expected="named inputs and outputs",
                fix="compile the model anew from ONNX",
            )
        name = port.any_name
        shape = tuple(None if d.is_dynamic else d.get_length() for d in port.partial_shape)
        dtype = np.dtype(port.element_type.to_dtype()).name
        specs[name] = TensorSpec(name=name, dtype=dtype, shape=shape)
    return specs


def _layers(model: Any) -> tuple[LayerExecution, ...]:
    layers = []
    for operation in model.get_ordered_ops():
        facts = operation.get_rt_info()
        kind = facts["layerType"].astype(str)
        if kind not in ("Const", "Input", "Output"):
            layers.append(
                LayerExecution(
                    name=operation.get_friendly_name(),
                    type=kind,
                    precision=facts["runtimePrecision"].astype(str),
                )
            )
    return tuple(layers)
