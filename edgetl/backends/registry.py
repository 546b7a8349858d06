"""Backends by name. No vendor SDK is imported before a backend of that name is loaded."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

from edgetl.backends import openvino, ort
from edgetl.backends.base import Backend
from edgetl.backends.execution import Describable, Execution, LayerExecution
from edgetl.backends.openvino_device import check_device_name
from edgetl.errors import BackendError, ModelError, UsageError
from edgetl.spec import TensorSpec, Variant

__all__ = [
    "Execution",
    "LayerExecution",
    "available",
    "describe",
    "load",
    "names",
    "on_device",
    "with_devices",
]


class _Loader(Protocol):
    def __call__(
        self,
        variant: Variant,
        files: Mapping[str, bytes],
        *,
        threads: int | None = None,
        cache_dir: Path | None = None,
    ) -> Backend: ...


@dataclass(frozen=True, kw_only=True)
class _Entry:
    module: str
    extra: str
    load: _Loader
    # Whether a variant of it may be put on a device by name.
    has_devices: bool = False


_ENTRIES = {
    "openvino": _Entry(module="openvino", extra="openvino", load=openvino.load, has_devices=True),
    "onnxruntime": _Entry(module="onnxruntime", extra="cpu", load=ort.load),
}


def names() -> tuple[str, ...]:
    """The backends that a variant may name.

    Example:
        >>> names()
        ('openvino', 'onnxruntime')
    """
    return tuple(_ENTRIES)


def with_devices() -> tuple[str, ...]:
    """The backends whose variants can be put on a device by its name.

    Example:
        >>> with_devices()
        ('openvino',)
    """
    return tuple(name for name, entry in _ENTRIES.items() if entry.has_devices)


def on_device(variant: Variant, device: str) -> Variant:
    """The variant, set to be loaded on a device.

    Args:
        variant: A variant of any backend.
        device: For OpenVINO such as ``GPU``, ``GPU.1``, ``NPU``, ``AUTO`` or ``AUTO:GPU,CPU``;
            ONNX Runtime has ``CPU``, where its variants run anyway.

    Raises:
        ConfigError: For what is no name of a device.
        UsageError: For a device that the variant's backend cannot be given.

    Example:
        >>> from edgetl.spec import Precision
        >>> one = Variant(id="v", backend="openvino", precision=Precision.FP32, files=("a", "b"))
        >>> dict(on_device(one, "GPU").settings)
        {'device': 'GPU'}
    """
    if variant.backend in with_devices():
        check_device_name(device)
        return replace(variant, settings={**variant.settings, "device": device})
    if device == "CPU" and variant.settings.get("provider", ort.CPU) == ort.CPU:
        return variant
    raise UsageError(
        f"device {device!r}"[:80],
        got=f"the variant {variant.id}, of the backend '{variant.backend}'",
        expected="CPU, which is what this backend has",
        fix=f"leave the device out, or ask for the backend {' or '.join(with_devices())}",
    )


def available() -> dict[str, Literal[True] | str]:
    """For each backend True when it is installed, or else the reason why it is not.

    Nothing is imported. Compare with ``is True``: a reason is a text, and true as well.

    Example:
        >>> sorted(available())
        ['onnxruntime', 'openvino']
    """
    return {
        name: True
        if find_spec(entry.module)
        else f"not installed: pip install 'edgetl[{entry.extra}]'"
        for name, entry in _ENTRIES.items()
    }


def load(
    variant: Variant,
    files: Mapping[str, bytes],
    *,
    threads: int | None = None,
    cache_dir: Path | None = None,
) -> Backend:
    """Load a classifier's variant into the backend that it names.

    Args:
        variant: What to load, and with which settings.
        files: The bytes of the variant's files by path; a path is never opened.
        threads: The threads that one call may use; None for all cores of the process.
        cache_dir: Where a runtime may keep what it compiled; None for nowhere. Whoever can
            write there can change the answers.

    Raises:
        UsageError: For an unknown backend, or threads below 1.
        UnavailableError: When the runtime, provider, device or precision is not here.
        ModelError: For a model that is refused, or is not a classifier.
        ConfigError: For a setting that the backend does not have.
        BackendError: When the runtime cannot load the model.
    """
    entry = _ENTRIES.get(variant.backend)
    if entry is None:
        near = difflib.get_close_matches(variant.backend, _ENTRIES, n=1)
        raise UsageError(
            "backend",
            got=f"'{variant.backend}'",
            expected=f"one of {', '.join(_ENTRIES)}",
            fix=f"did you mean '{near[0]}'?" if near else "choose one of these",
        )
    backend = entry.load(variant, files, threads=threads, cache_dir=cache_dir)
    try:
        _check_classifier(variant.id, backend)
    except ModelError:
        backend.close()
        raise
    return backend


def describe(backend: Backend) -> Execution:
    """What a loaded backend really executes, read back from its runtime.

    For ONNX Runtime the model is loaded a second time, to write its optimised graph down.

    Raises:
        BackendError: For a backend that cannot tell, or one that is closed.
    """
    if not isinstance(backend, Describable):
        raise BackendError(
            type(backend).__name__,
            got="a backend that does not tell how it executes",
            expected=f"one of {', '.join(_ENTRIES)}",
            fix="describe a backend that `load` returned",
        )
    return backend.execution()


def _check_classifier(subject: str, backend: Backend) -> None:
    answer = backend.output_spec.get("probabilities")
    if answer is None or answer.dtype != "float32" or not _is_batch_by_classes(answer):
        found = ", ".join(_text(spec) for spec in backend.output_spec.values())
        raise ModelError(
            f"{subject}, outputs",
            got=found or "none",
            expected="probabilities float32 [batch, classes]",
            fix="export the model with edgetl, which adds the softmax and names the output",
        )


def _is_batch_by_classes(spec: TensorSpec) -> bool:
    return len(spec.shape) == 2 and spec.shape[0] is None and spec.shape[1] is not None


def _text(spec: TensorSpec) -> str:
    return f"{spec.name} {spec.dtype} {['batch' if size is None else size for size in spec.shape]}"
