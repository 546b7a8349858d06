"""OpenVINO's devices: which names are taken, what must be here, and what each is told."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from edgetl.errors import ConfigError, ModelError, UnavailableError

# What a device must say of itself before a precision is asked of it.
_CAPABILITIES = {"f32": "FP32", "bf16": "BF16", "f16": "FP16"}
_ONE = re.compile(r"[A-Z][A-Z0-9]*(\.[A-Za-z0-9]+)?")
# Several devices answer in these: no verdict and no selftest would know whose answer it saw.
_COMPOSED = ("MULTI", "HETERO", "BATCH")
_KNOWN = ("CPU", "GPU", "NPU", "AUTO")
# Devices that take no model whose batch is free.
_STATIC_ONLY = ("NPU",)


def check_device_name(device: str) -> None:
    """Refuse what is not the name of one device, or AUTO.

    Taken are ``CPU``, ``GPU``, ``GPU.1``, ``NPU`` and the like, ``AUTO``, and ``AUTO:GPU,CPU``.

    Raises:
        ConfigError: For any other text.

    Example:
        >>> check_device_name("AUTO:GPU.0,CPU")
    """
    name, colon, rest = device.partition(":")
    if name in _COMPOSED:
        raise ConfigError(
            "OpenVINO device",
            got=f"'{device}', with which several devices answer",
            expected="one device, so that it is known whose answers were judged",
            fix="name one device, or AUTO, which chooses one",
        )
    names = rest.split(",") if colon and name == "AUTO" else [device]
    wrong = next((one for one in names if not _ONE.fullmatch(one)), None)
    if wrong is not None or (colon and "AUTO" in names):
        near = difflib.get_close_matches(device.upper(), _KNOWN, n=1)
        raise ConfigError(
            "OpenVINO device",
            got=repr(device[:80]),
            expected="a name such as CPU, GPU, GPU.1, NPU, AUTO or AUTO:GPU,CPU",
            fix=f"did you mean '{near[0]}'?" if near else "name one of these",
        )


def check_device(core: Any, device: str) -> None:
    """Refuse a device that is not here; of ``AUTO:GPU,CPU`` each must be.

    Raises:
        UnavailableError: Listing the devices that are here.
    """
    here = list(core.available_devices)
    for name in device.removeprefix("AUTO:").split(","):
        if name != "AUTO" and not _is_here(core, name, here):
            raise UnavailableError(
                f"OpenVINO device {name}",
                got=f"a machine with {', '.join(here) or 'no device'}",
                expected=name,
                fix="install the device's driver, or ask for another device",
            )


def _is_here(core: Any, device: str, here: list[str]) -> bool:
    if device in here:
        return True
    # A single GPU is listed as GPU and answers to GPU.0; of several, GPU is the first.
    kind, dot, number = device.partition(".")
    if not any(one.partition(".")[0] == kind for one in here):
        return False
    return not dot or number in core.get_property(kind, "AVAILABLE_DEVICES")


def chosen_device(core: Any, model: Any, device: str) -> str:
    """The device itself; for AUTO the one that OpenVINO chooses for the model.

    AUTO only chooses. Executing, it may start on the CPU and change over, or change when a
    device fails, and it hides each device's settings; so the device that it chose is then
    loaded by its own name.
    """
    if device.partition(":")[0] != "AUTO":
        return device
    # Without a start on the CPU, the device that was chosen is the only one that it names.
    options = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_STARTUP_FALLBACK": False}
    compiled = core.compile_model(model, device, options)
    (found,) = compiled.get_property("EXECUTION_DEVICES")
    return str(found)


def device_settings(
    core: Any, device: str, *, threads: int, hint: str, cache_dir: Path | None
) -> dict[str, Any]:
    """What to tell a device: only properties that it has.

    Args:
        core: OpenVINO's core.
        device: A device that is here; not AUTO.
        threads: The threads of one call, for a device that has them.
        hint: The floating-point precision: f32, bf16 or f16.
        cache_dir: Where compiled models may be kept, or None.

    Raises:
        UnavailableError: When the device does not have the precision.
    """
    wanted: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": hint,
        # A pinned thread waits for its core when anything else runs there, and two classifiers
        # would be pinned to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    supported = core.get_property(device, "SUPPORTED_PROPERTIES")
    settings = {key: value for key, value in wanted.items() if key in supported}
    _check_precision(core, device, hint, told="INFERENCE_PRECISION_HINT" in settings)
    if cache_dir is not None:
        settings["CACHE_DIR"] = str(cache_dir)
    return settings


def _check_precision(core: Any, device: str, hint: str, *, told: bool) -> None:
    needed = _CAPABILITIES[hint]
    capabilities = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    floats = {one for one in _CAPABILITIES.values() if one in capabilities}
    # A device that cannot be told must leave no choice.
    if needed not in floats or not (told or floats == {needed}):
        raise UnavailableError(
            f"OpenVINO device {device}",
            got=f"the precisions {', '.join(capabilities)}",
            expected=needed,
            fix="use a variant of another precision on this device",
        )


def compiled_model(
    core: Any, model: Any, device: str, settings: dict[str, Any], static_batch: int | None
) -> tuple[Any, int | None]:
    """Compile a model, with a fixed batch where the device takes no other.

    Args:
        core: OpenVINO's core.
        model: A model whose batch is free. It may be changed.
        device: A device that is here.
        settings: Of `device_settings`.
        static_batch: The batch to fix; None leaves it to the device.

    Returns:
        The compiled model, and its fixed batch or None when it is free.

    Raises:
        ModelError: When an output does not follow the batch of the inputs.
        RuntimeError: What OpenVINO raises when the device refuses the model.
    """
    kind = device.partition(".")[0]
    if not any(_is_free(port) for port in model.inputs):
        return core.compile_model(model, device, settings), None
    if static_batch is None and kind in _STATIC_ONLY:
        static_batch = 1
    if static_batch is not None:
        _fix_batch(model, static_batch)
        return core.compile_model(model, device, settings), static_batch
    try:
        return core.compile_model(model, device, settings), None
    except RuntimeError:
        if kind == "CPU":
            raise
        _fix_batch(model, 1)
        return core.compile_model(model, device, settings), 1


def _fix_batch(model: Any, batch: int) -> None:
    free = [_is_free(port) for port in model.outputs]
    shapes = {}
    for port in model.inputs:
        shape = port.partial_shape
        if _is_free(port):
            shape[0] = batch
        shapes[port] = shape
    model.reshape(shapes)
    for port, was_free in zip(model.outputs, free, strict=True):
        shape = port.partial_shape
        if not was_free or shape[0].is_dynamic or shape[0].get_length() != batch:
            raise ModelError(
                f"output {port.any_name}",
                got=f"the shape {shape} for a batch of {batch}",
                expected="one row for each row of the inputs",
                fix="export the model with the batch first in every input and output",
            )


def _is_free(port: Any) -> bool:
    shape = port.partial_shape
    return bool(shape.rank.is_static and len(shape) and shape[0].is_dynamic)
