"""Run in a process of its own: load one runtime, answer a tiny network, say how it went.

    python -m edgetl.doctor.probe devices openvino
    python -m edgetl.doctor.probe run openvino CPU
    python -m edgetl.doctor.probe torch

The answer is one line of JSON on standard output; whatever the libraries print goes to standard
error. What a crash leaves is an exit status, which `checks` reads.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from edgetl.backends import registry
from edgetl.backends.openvino import import_openvino
from edgetl.backends.ort import import_onnxruntime
from edgetl.doctor.tiny_model import INPUTS, expected, tiny_variant
from edgetl.errors import UnavailableError
from edgetl.spec import Precision

# Sends the inputs to somebody else's service; a device computes on its own.
_REMOTE = "AzureExecutionProvider"
# Accelerators may compute in TF32 or FP16.
_TOLERANCE = {"CPU": 1e-5, "CPUExecutionProvider": 1e-5}
_OTHER_TOLERANCE = 0.02


def main(arguments: list[str]) -> int:
    """Do what the arguments say and print the answer."""
    _leave_nothing()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    what, *rest = arguments
    tries: dict[str, Callable[..., dict[str, Any]]]
    tries = {"devices": _devices, "run": _run, "torch": _torch}
    try:
        found = tries[what](*rest)
    except UnavailableError as error:
        found = {"outcome": "not here", "note": str(error)}
    except Exception as error:
        words = " ".join(str(error).split())[:600]
        found = {"outcome": "failed", "note": f"{type(error).__name__}: {words}"}
    answers.write(json.dumps(found) + "\n")
    answers.flush()
    return 0


def _leave_nothing() -> None:
    # A crash is an answer here, and needs no core file.
    try:
        import resource
    except ModuleNotFoundError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _devices(backend: str) -> dict[str, Any]:
    if backend == "onnxruntime":
        runtime = import_onnxruntime()
        devices = [one for one in runtime.get_available_providers() if one != _REMOTE]
        return {"version": runtime.__version__, "devices": devices, "names": {}}
    openvino = import_openvino()
    core = openvino.Core()
    devices = list(core.available_devices)
    names = {one: str(core.get_property(one, "FULL_DEVICE_NAME")) for one in devices}
    return {"version": openvino.get_version(), "devices": devices, "names": names}


def _run(backend: str, device: str) -> dict[str, Any]:
    setting = "device" if backend == "openvino" else "provider"
    variant, files = tiny_variant(backend, setting, device, _precision(backend, device))
    loaded = registry.load(variant, files, threads=1)
    try:
        answers = loaded.run({"features": INPUTS})["probabilities"]
    finally:
        loaded.close()
    return _judged(answers, _TOLERANCE.get(device, _OTHER_TOLERANCE))


def _precision(backend: str, device: str) -> Precision:
    if backend == "openvino":
        core = import_openvino().Core()
        if "FP32" not in core.get_property(device, "OPTIMIZATION_CAPABILITIES"):
            return Precision.FP16
    return Precision.FP32


def _judged(answers: Any, tolerance: float) -> dict[str, Any]:
    difference = float(np.abs(answers - expected()).max())
    # Written so that a NaN is a failure.
    if difference <= tolerance:
        return {"outcome": "works", "note": f"largest difference {difference:.1g}"}
    return {
        "outcome": "failed",
        "note": f"it answers, but {difference:.2g} away from the right probabilities",
    }


def _torch() -> dict[str, Any]:
    import torch

    found: dict[str, Any] = {"version": torch.__version__, "cuda": torch.version.cuda}
    found["cpu"] = _on_torch(torch, "cpu")
    if torch.cuda.is_available():
        found["cuda device"] = _on_torch(torch, "cuda")
    found["torchvision"] = _torchvision(torch)
    return found


def _on_torch(torch: Any, device: str) -> dict[str, Any]:
    try:
        one, other = (torch.arange(12.0).reshape(shape).to(device) for shape in ((3, 4), (4, 3)))
        total = float((one @ other).sum())
    except Exception as error:
        return {"outcome": "failed", "note": f"{type(error).__name__}: {str(error)[:400]}"}
    right = float((np.arange(12.0).reshape(3, 4) @ np.arange(12.0).reshape(4, 3)).sum())
    if total == right:
        return {"outcome": "works", "note": "a product of two matrices"}
    return {"outcome": "failed", "note": f"a product sums to {total}, and should to {right}"}


def _torchvision(torch: Any) -> dict[str, Any]:
    try:
        import torchvision
    except ModuleNotFoundError:
        return {"outcome": "missing", "note": "not installed"}
    except Exception as error:
        return {"outcome": "failed", "note": f"{type(error).__name__}: {str(error)[:400]}"}
    try:
        # Its own compiled code, which a torch of another build cannot load.
        boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.9]])
        kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist()
    except Exception as error:
        return {"outcome": "failed", "note": f"{type(error).__name__}: {str(error)[:400]}"}
    version = torchvision.__version__
    if kept == [0]:
        return {"outcome": "works", "note": "its compiled operators load", "version": version}
    return {"outcome": "failed", "note": f"nms keeps {kept}, and should [0]", "version": version}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
