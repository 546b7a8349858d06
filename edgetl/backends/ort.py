"""ONNX Runtime: FP32 and static INT8 (QDQ) models, on the CPU or on a provider asked for."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edgetl.backends.checked import CheckedBackend, check_threads, vendor_error
from edgetl.backends.execution import Execution, LayerExecution
from edgetl.backends.onnx_check import check_onnx
from edgetl.backends.options import model_files, no_other_settings, text_setting
from edgetl.errors import ModelError, UnavailableError
from edgetl.extras import extra
from edgetl.spec import Array, Precision, Setting, TensorSpec, Variant

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}

_ELEMENTS = {
    "float": "f32",
    "double": "f64",
    "float16": "f16",
    "bfloat16": "bf16",
    "uint8": "u8",
    "int8": "i8",
    "int32": "i32",
    "int64": "i64",
}

CPU = "CPUExecutionProvider"

# Left to itself a worker spins for tens of milliseconds after a call, on a core that the program,
# or another backend that is being measured, needs; 200 µs bridge the gaps inside a call and
# between calls in a row, which is where spinning pays.
_CONFIG = {
    "session.intra_op.allow_spinning": "1",
    "session.intra_op.spin_duration_us": "200",
    "session.load_model_format": "ONNX",
}
_NO_FALLBACK = {"session.disable_cpu_ep_fallback": "1"}


def import_onnxruntime() -> ModuleType:
    """ONNX Runtime, with its telemetry off before it is imported.

    Raises:
        MissingExtraError: When it is not installed.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    with extra("cpu"):
        import onnxruntime
    # For a process that imported it before us.
    onnxruntime.disable_telemetry_events()
    module: ModuleType = onnxruntime
    return module


def load(
    variant: Variant,
    files: Mapping[str, bytes],
    *,
    threads: int | None = None,
    cache_dir: Path | None = None,
) -> OrtBackend:
    """Load an ONNX model into ONNX Runtime; see `registry.load`.

    `variant.settings` may have ``provider``; the default is ``CPUExecutionProvider``.
    ONNX Runtime keeps no cache, so `cache_dir` stays unused.
    """
    del cache_dir
    count = check_threads(threads)
    no_other_settings(variant, {"provider"})
    (model,) = model_files(variant, files, 1)
    if variant.precision not in (Precision.FP32, Precision.INT8):
        raise UnavailableError(
            variant.id,
            got=f"the precision {variant.precision}",
            expected="fp32 or int8, which ONNX Runtime has on this device",
            fix="use the openvino backend for this precision",
        )
    check_onnx(model, variant.id)
    return OrtBackend(
        model,
        subject=variant.id,
        threads=count,
        provider=text_setting(variant, "provider", CPU),
    )


class OrtBackend(CheckedBackend):
    """One session, which any number of threads may call at the same time.

    Args:
        model: The bytes of a checked ONNX model. They are kept, without a copy, for `execution`.
        subject: What to call the model in an error.
        threads: The threads of one call.
        provider: The execution provider; it is obtained, or UnavailableError is raised.
    """

    def __init__(self, model: bytes, *, subject: str, threads: int, provider: str) -> None:
        self._ort = import_onnxruntime()
        self._model = model
        self._threads = threads
        self._provider = provider
        # The CPU provider itself refuses to be told that there is no falling back to it.
        self._config = _CONFIG if provider == CPU else _CONFIG | _NO_FALLBACK
        available = self._ort.get_available_providers()
        if provider not in available:
            raise UnavailableError(
                f"ONNX Runtime provider {provider}",
                got=f"a build of ONNX Runtime with {', '.join(available)}",
                expected=f"one with {provider}",
                fix="install the ONNX Runtime package that has it, or ask for another provider",
            )
        self._session: Any = self._open(subject, self._options())
        super().__init__(
            subject,
            input_spec=_specs(subject, self._session.get_inputs()),
            output_spec=_specs(subject, self._session.get_outputs()),
        )
        self._names = list(self.output_spec)

    def execution(self) -> Execution:
        """Profile one call of a second session, and read back the kernels that ran."""
        self._check_alive()
        with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = self._open(self._subject, options)
            try:
                session.run(self._names, {k: _zeros(s) for k, s in self.input_spec.items()})
                layers = _layers(json.loads(Path(session.end_profiling()).read_bytes()))
            except Exception as error:
                raise vendor_error(self._subject, error) from error
        options = self._session.get_session_options()
        settings: dict[str, Setting] = {
            "intra_op_threads": options.intra_op_num_threads,
            "inter_op_threads": options.inter_op_num_threads,
            "execution_mode": str(options.execution_mode).rsplit(".", 1)[-1],
            "graph_optimization": str(options.graph_optimization_level).rsplit(".", 1)[-1],
        }
        for key in self._config:
            settings[key] = str(options.get_session_config_entry(key))
        provider = str(self._session.get_providers()[0])
        return Execution(
            backend="onnxruntime",
            version=self._ort.__version__,
            device=provider,
            threads=options.intra_op_num_threads,
            settings=settings,
            layers=layers,
        )

    def _options(self) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = self._ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = self._ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        for key, value in self._config.items():
            options.add_session_config_entry(key, value)
        return options

    def _open(self, subject: str, options: Any) -> Any:
        try:
            session = self._ort.InferenceSession(self._model, options, providers=[self._provider])
        except Exception as error:
            raise vendor_error(subject, error) from error
        if session.get_providers()[0] != self._provider:
            raise UnavailableError(
                f"ONNX Runtime provider {self._provider}",
                got=f"{session.get_providers()[0]} in its place",
                expected=self._provider,
                fix="install what the provider needs, such as its driver and libraries",
            )
        return session

    def _answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        answers = self._session.run(self._names, inputs)
        return dict(zip(self._names, answers, strict=True))

    def _release(self) -> None:
        self._session = None
        self._model = b""


def _specs(subject: str, arguments: list[Any]) -> dict[str, TensorSpec]:
    specs = {}
    for argument in arguments:
        if argument.type not in _DTYPES:
            raise ModelError(
                f"{subject}, tensor '{argument.name}'",
                got=str(argument.type),
                expected=f"one of {', '.join(sorted(_DTYPES))}",
                fix="export the model with plain tensors as inputs and outputs",
            )
        shape = tuple(size if isinstance(size, int) else None for size in argument.shape)
        specs[argument.name] = TensorSpec(
            name=argument.name, dtype=_DTYPES[argument.type], shape=shape
        )
    return specs


def _zeros(spec: TensorSpec) -> Array:
    return np.zeros([1 if size is None else size for size in spec.shape], spec.dtype)


def _layers(events: list[dict[str, Any]]) -> tuple[LayerExecution, ...]:
    return tuple(
        LayerExecution(
            name=event["name"].removesuffix("_kernel_time"),
            type=event["args"]["op_name"],
            precision=_precision(event["args"]),
        )
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    )


def _precision(facts: dict[str, Any]) -> str:
    tensors = facts["input_type_shape"] or facts["output_type_shape"]
    name = next(iter(tensors[0])) if tensors else "none"
    return _ELEMENTS.get(name, name)
