"""Tries each backend on each of its devices, in processes of their own: nothing can end doctor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import edgetl
from edgetl.backends import registry
from edgetl.doctor.packages import pip_line

Outcome = Literal["works", "failed", "not here", "missing"]

_CPU = ("CPU", "CPUExecutionProvider")
# A driver that is loaded is what makes a provider expected to work.
_DRIVERS = {"CUDAExecutionProvider": "nvidia"}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One backend on one device.

    Attributes:
        backend: ``onnxruntime``, ``openvino``, ``torch`` or ``torchvision``.
        device: A provider or device; empty when the backend itself is what the check is about.
        outcome: ``"works"``: it answered a tiny network right; ``"failed"``; ``"not here"``: the
            device is not; ``"missing"``: the package is not installed.
        expected: Whether it should work: a failure is then something to mend.
        note: What was found.
        fix: The line that mends it; empty when there is nothing to mend.
        version: The backend's version, where it is known.
    """

    backend: str
    device: str
    outcome: Outcome
    expected: bool
    note: str = ""
    fix: str = ""
    version: str = ""

    @property
    def broken(self) -> bool:
        """Whether it should work and does not."""
        return self.expected and self.outcome != "works"


def run_checks(
    *, accelerators: Sequence[str], torch: bool, onnxruntime: str, timeout: float
) -> tuple[Check, ...]:
    """Try everything that is installed.

    Args:
        accelerators: Of the machine; see `machine.Machine`.
        torch: Whether torch is installed.
        onnxruntime: The name of the package that brings ONNX Runtime, for the line that mends it.
        timeout: Seconds that one try may take.
    """
    here = registry.available()
    packages = {"onnxruntime": onnxruntime, "openvino": "openvino"}
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(_backend_checks, name, packages[name], here[name], accelerators, timeout)
            for name in registry.names()
        ]
        jobs.append(pool.submit(_torch_checks, torch, accelerators, timeout))
        return tuple(check for job in jobs for check in job.result())


def _backend_checks(
    name: str, package: str, state: bool | str, accelerators: Sequence[str], timeout: float
) -> list[Check]:
    if isinstance(state, str):
        fix = state.partition(": ")[2]
        return [_check(name, "", "missing", note="not installed", fix=fix)]
    found = probe("devices", name, timeout=timeout)
    if "devices" not in found:
        return [_failed(name, "", found, _reinstall(package))]
    checks = []
    for device in found["devices"]:
        answer = probe("run", name, device, timeout=timeout)
        full = found["names"].get(device, "")
        checks.append(
            Check(
                backend=name,
                device=device,
                outcome=answer["outcome"],
                expected=_is_expected(name, device, accelerators),
                note=f"{full}; {answer['note']}" if full else answer["note"],
                fix="" if answer["outcome"] == "works" else _device_fix(package, device),
                version=found["version"],
            )
        )
    return checks


def _is_expected(backend: str, device: str, accelerators: Sequence[str]) -> bool:
    # OpenVINO lists only devices that it has found; ONNX Runtime lists what it was built with.
    return backend == "openvino" or device in _CPU or _DRIVERS.get(device) in accelerators


def _device_fix(package: str, device: str) -> str:
    if device in _CPU:
        return _reinstall(package)
    if device == "CUDAExecutionProvider":
        return "pip install 'onnxruntime-gpu[cuda,cudnn]'"
    return f"install or update the driver and libraries that {device} needs"


def _torch_checks(installed: bool, accelerators: Sequence[str], timeout: float) -> list[Check]:
    if not installed:
        return [_check("torch", "", "missing", note="not installed", fix=pip_line("train"))]
    found = probe("torch", timeout=timeout)
    reinstall = _reinstall("torch torchvision")
    if "cpu" not in found:
        return [_failed("torch", "", found, reinstall)]
    version = found["version"]
    checks = [_of_torch("torch", "cpu", found["cpu"], version, reinstall)]
    if "cuda device" in found:
        checks.append(_of_torch("torch", "cuda", found["cuda device"], version, reinstall))
    elif "nvidia" in accelerators:
        checks.append(_without_cuda(found["cuda"], version))
    vision = found["torchvision"]
    if vision["outcome"] == "missing":
        fix = pip_line("train")
        checks.append(_check("torchvision", "", "missing", note="not installed", fix=fix))
    else:
        of_vision = _of_torch("torchvision", "cpu", vision, vision.get("version", ""), reinstall)
        checks.append(of_vision)
    return checks


def _without_cuda(cuda: str | None, version: str) -> Check:
    if cuda is None:
        note, fix = "built for the CPU only", "pip install torch, from the index of CUDA builds"
    else:
        note = f"built for CUDA {cuda}, which the driver here does not run"
        fix = "update the NVIDIA driver, or install a torch for an older CUDA"
    return Check(
        backend="torch",
        device="cuda",
        outcome="not here",
        # Whoever chose a build for the CPU has it.
        expected=cuda is not None,
        note=note,
        fix=fix,
        version=version,
    )


def _of_torch(name: str, device: str, answer: dict[str, Any], version: str, fix: str) -> Check:
    outcome: Outcome = answer["outcome"]
    return Check(
        backend=name,
        device=device,
        outcome=outcome,
        expected=True,
        note=answer["note"],
        fix="" if outcome == "works" else fix,
        version=version,
    )


def _check(backend: str, device: str, outcome: Outcome, *, note: str, fix: str) -> Check:
    return Check(
        backend=backend, device=device, outcome=outcome, expected=False, note=note, fix=fix
    )


def _failed(backend: str, device: str, answer: dict[str, Any], fix: str) -> Check:
    return Check(
        backend=backend,
        device=device,
        outcome="failed",
        expected=True,
        note=answer["note"],
        fix=fix,
    )


def _reinstall(package: str) -> str:
    return f"pip install --force-reinstall {package}"


def probe(*arguments: str, timeout: float) -> dict[str, Any]:
    """Run one try in a process of its own.

    Args:
        arguments: Of `edgetl.doctor.probe`.
        timeout: Seconds that it may take.

    Returns:
        What it answered; or the outcome ``"failed"`` with a note of how it ended.
    """
    try:
        done = subprocess.run(
            command(arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"outcome": "failed", "note": f"no answer within {timeout:g} s"}
    except OSError as error:
        return {"outcome": "failed", "note": f"no process could be started: {error}"}
    if done.returncode != 0:
        last = " ".join(done.stderr.split())[-300:]
        ended = f"the process ended by itself with {_status(done.returncode)}"
        return {"outcome": "failed", "note": f"{ended}: {last}" if last else ended}
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"outcome": "failed", "note": "the process ended without an answer"}
    return answer


def command(arguments: Sequence[str]) -> list[str]:
    """The command line of one try."""
    return [sys.executable, "-P", "-m", "edgetl.doctor.probe", *arguments]


def _environment() -> dict[str, str]:
    # The edgetl that runs here, whatever the working directory holds; and nothing is written,
    # neither bytecode nor what a GPU's driver compiles.
    home = str(Path(edgetl.__file__).resolve().parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "CUDA_CACHE_DISABLE": "1",
        "NEO_CACHE_PERSISTENT": "0",
    }


def _status(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
