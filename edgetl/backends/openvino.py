"""OpenVINO: an IR in FP32, BF16, FP16 or INT8 on the CPU, or on a device asked for by name."""

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
from edgetl.backends.openvino_device import (
    check_device,
    check_device_name,
    chosen_device,
    compiled_model,
    device_settings,
)
from edgetl.backends.options import count_setting, model_files, no_other_settings, text_setting
from edgetl.errors import ConfigError, ModelError, UnavailableError
from edgetl.extras import extra
from edgetl.spec import Array, Precision, Setting, TensorSpec, Variant

_HINTS = {Precision.FP32: "f32", Precision.BF16: "bf16", Precision.FP16: "f16"}
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

    `variant.settings` may have ``device`` (default ``CPU``), ``static_batch`` (the batch that the
    model is compiled for; by default a fixed one, 1, only where the device takes no other) and,
    for INT8 variants, ``float_precision``: ``f32`` (default), ``bf16`` or ``f16``, what the layers
    that stayed in floating point are computed in. `cache_dir` is where OpenVINO may keep compiled
    models.
    """
    count = check_threads(threads)
    no_other_settings(variant, {"device", "float_precision", "static_batch"})
    device = text_setting(variant, "device", "CPU")
    check_device_name(device)
    static_batch = count_setting(variant, "static_batch")
    xml, weights = model_files(variant, files, 2)
    return OpenVinoBackend(
        xml,
        weights,
        subject=variant.id,
        threads=count,
        device=device,
        hint=_hint(variant),
        static_batch=static_batch,
        cache_dir=cache_dir,
    )


class OpenVinoBackend(CheckedBackend):
    """One compiled model and a pool of infer requests, one per call that is under way.

    A request shared by two threads answers "busy" or, worse, with the other thread's answer.

    Args:
        xml, weights: The two files of an IR.
        subject: What to call the model in an error.
        threads: The threads of one call; OpenVINO takes no more than there are cores.
        device: An OpenVINO device; it is obtained, or UnavailableError is raised. ``AUTO`` is the
            device that OpenVINO chooses; `execution` says which.
        hint: The floating-point precision to compute in: f32, bf16 or f16.
        static_batch: The batch to compile for; shorter ones are filled up, longer ones run in
            parts, so that any batch may be asked. None leaves the batch free where it can be.
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
        static_batch: int | None,
        cache_dir: Path | None,
    ) -> None:
        self._openvino = import_openvino()
        core = self._openvino.Core()
        check_device(core, device)
        # Any other format would be recognised too, and read without the checks that it needs.
        if not xml.lstrip().startswith((b"<?xml", b"<net")):
            raise ModelError(
                subject,
                got="a first file that is not XML",
                expected="an OpenVINO IR: the .xml file, then the .bin file",
                fix="list the variant's files in that order",
            )
        try:
            model = core.read_model(xml, weights)
            _check_stateless(subject, model)
            # Before the batch may be fixed: what a caller may ask stays free.
            inputs, outputs = _specs(subject, model.inputs), _specs(subject, model.outputs)
            chosen = chosen_device(core, model, device)
            self._settings = device_settings(
                core, chosen, threads=threads, hint=hint, cache_dir=cache_dir
            )
            self._compiled, self._batch = compiled_model(
                core, model, chosen, self._settings, static_batch
            )
        except RuntimeError as error:
            raise vendor_error(subject, error) from error
        _check_hint(self._compiled, self._settings, subject)
        self._asked = device
        super().__init__(subject, input_spec=inputs, output_spec=outputs)
        self._pool: deque[_Request] = deque()

    def execution(self) -> Execution:
        """Read the compiled graph back, with the precision that each layer is executed in."""
        self._check_alive()
        compiled = self._compiled
        device = ",".join(compiled.get_property("EXECUTION_DEVICES"))
        settings = {key: _plain(compiled, key) for key in self._settings if key != "CACHE_DIR"}
        settings["CACHE_DIR"] = "CACHE_DIR" in self._settings
        if self._batch is not None:
            settings["static_batch"] = self._batch
        if self._asked != device:
            settings["device"] = self._asked
        return Execution(
            backend="openvino",
            version=self._openvino.get_version(),
            device=device,
            # A device without threads of its own is waited for by the caller's.
            threads=int(settings.get("INFERENCE_NUM_THREADS", 1)),
            settings=settings,
            layers=_layers(compiled),
        )

    def _answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        # A request that raised is not put back, so that no half-done answer is found in it.
        try:
            request = self._pool.pop()
        except IndexError:
            request = _Request(self._openvino, self._compiled, self.output_spec)
        if self._batch is None:
            outputs = request.answer(inputs)
        else:
            outputs = self._in_parts(request, inputs, self._batch)
        self._pool.append(request)
        return outputs

    def _in_parts(
        self, request: _Request, inputs: Mapping[str, Array], size: int
    ) -> dict[str, Array]:
        count = self._batch_of(inputs) or 0
        parts = []
        for start in range(0, count, size):
            rows = slice(start, min(start + size, count))
            given = {
                name: _filled_up(array[rows], size) if self._has_batch(name) else array
                for name, array in inputs.items()
            }
            found = request.answer(given)
            parts.append({name: array[: rows.stop - start] for name, array in found.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _has_batch(self, name: str) -> bool:
        return self.input_spec[name].shape[:1] == (None,)

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


def _filled_up(rows: Array, size: int) -> Array:
    # With rows that are there already: nothing that is computed over the whole batch, such as
    # the range of a dynamic quantization, sees a value that no caller gave.
    missing = size - len(rows)
    return rows if not missing else np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])


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
    if hint not in _HINTS.values():
        raise ConfigError(
            f"settings of {variant.id}, 'float_precision'",
            got=repr(hint),
            expected="'f32', 'bf16' or 'f16'",
            fix="remove it for the default, 'f32'",
        )
    return hint


def _check_stateless(subject: str, model: Any) -> None:
    if model.get_variables():
        raise ModelError(
            subject,
            got="a model that remembers earlier calls",
            expected="answers that depend on the input alone",
            fix="export the model without variables",
        )


def _check_hint(compiled: Any, settings: Mapping[str, Any], subject: str) -> None:
    hint = settings.get("INFERENCE_PRECISION_HINT")
    if hint is None:
        return
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


def _layers(compiled: Any) -> tuple[LayerExecution, ...]:
    try:
        operations = compiled.get_runtime_model().get_ordered_ops()
    except RuntimeError:
        # A device that keeps its graph to itself, such as an NPU.
        return ()
    layers = []
    for operation in operations:
        facts = operation.get_rt_info()
        kind = _fact(facts, "layerType")
        if kind not in ("Const", "Input", "Output"):
            name = operation.get_friendly_name()
            precision = _fact(facts, "runtimePrecision")
            layers.append(LayerExecution(name=name, type=kind, precision=precision))
    return tuple(layers)


def _fact(facts: Any, key: str) -> str:
    return str(facts[key].astype(str)) if key in facts else "not told"
