from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pytest

from edgetl.backends import registry
from edgetl.doctor import checks
from edgetl.doctor.checks import Check, probe, run_checks

WORKS = {"outcome": "works", "note": "fine"}
TORCH: dict[str, Any] = {
    "version": "2.9.0",
    "cuda": None,
    "cpu": WORKS,
    "torchvision": WORKS | {"version": "0.24"},
}


def instead(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Every probe runs this script."""
    monkeypatch.setattr(checks, "command", lambda _: [sys.executable, "-c", script])


@pytest.mark.parametrize(
    ("script", "note"),
    [
        ("import os; os.abort()", "SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("raise SystemExit(9)", "exit status 9"),
        ("raise ImportError('libcuda.so.1 is missing')", "libcuda.so.1 is missing"),
        ("print('noise, and no answer')", "without an answer"),
        ("pass", "without an answer"),
    ],
)
def test_how_a_process_ended_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, script: str, note: str
) -> None:
    no_core = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
    instead(monkeypatch, no_core + script)
    answer = probe("devices", "openvino", timeout=30)
    assert answer["outcome"] == "failed"
    assert note in answer["note"]


def test_one_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, "import signal; signal.pause()")
    answer = probe("devices", "openvino", timeout=0.5)
    assert answer == {"outcome": "failed", "note": "no answer within 0.5 s"}


def test_no_process_at_all_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "command", lambda _: ["/no/such/python"])
    assert "no process could be started" in probe("devices", "openvino", timeout=5)["note"]


def answered(
    monkeypatch: pytest.MonkeyPatch, answers: dict[tuple[str, ...], Any], **options: Any
) -> dict[tuple[str, str], Check]:
    """Run the checks on a machine where the probes answer so."""
    monkeypatch.setattr(registry, "available", lambda: {"openvino": True, "onnxruntime": True})

    def found(*arguments: str, timeout: float) -> Any:
        return answers.get(arguments, {"outcome": "failed", "note": "no such probe"})

    monkeypatch.setattr(checks, "probe", found)
    defaults: dict[str, Any] = {
        "accelerators": (),
        "torch": False,
        "onnxruntime": "onnxruntime-gpu",
        "timeout": 1.0,
    }
    return {(c.backend, c.device): c for c in run_checks(**(defaults | options))}


def lists(devices: Sequence[str]) -> dict[str, Any]:
    return {"version": "1", "devices": list(devices), "names": {}}


def test_cuda_is_expected_where_there_is_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    providers = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
    answers: dict[tuple[str, ...], Any] = {("devices", "onnxruntime"): lists(providers)}
    for name in providers[:2]:
        answers["run", "onnxruntime", name] = {"outcome": "failed", "note": "no cuDNN"}
    answers["run", "onnxruntime", providers[2]] = WORKS
    found = answered(monkeypatch, answers)
    assert not found["onnxruntime", "CUDAExecutionProvider"].broken
    found = answered(monkeypatch, answers, accelerators=("nvidia",))
    cuda = found["onnxruntime", "CUDAExecutionProvider"]
    assert cuda.broken and cuda.fix == "pip install 'onnxruntime-gpu[cuda,cudnn]'"
    assert not found["onnxruntime", "TensorrtExecutionProvider"].broken
    assert not found["onnxruntime", "CPUExecutionProvider"].broken


def test_a_broken_runtime_names_its_own_package(monkeypatch: pytest.MonkeyPatch) -> None:
    found = answered(monkeypatch, {})
    broken = found["onnxruntime", ""]
    assert broken.broken and broken.fix == "pip install --force-reinstall onnxruntime-gpu"
    assert found["openvino", ""].fix == "pip install --force-reinstall openvino"


def test_a_listed_device_must_work(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[tuple[str, ...], Any] = {
        ("devices", "openvino"): lists(["CPU", "GPU"]),
        ("run", "openvino", "CPU"): WORKS,
        ("run", "openvino", "GPU"): {"outcome": "not here", "note": "no OpenCL"},
    }
    found = answered(monkeypatch, answers)
    assert found["openvino", "GPU"].broken and "driver" in found["openvino", "GPU"].fix
    assert found["openvino", "CPU"] == Check(
        backend="openvino", device="CPU", outcome="works", expected=True, note="fine", version="1"
    )


def test_what_is_missing_is_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {name: f"not installed: pip install 'edgetl[{name}]'" for name in registry.names()}
    monkeypatch.setattr(registry, "available", lambda: here)
    monkeypatch.setattr(checks, "probe", lambda *_, **__: pytest.fail("a process was started"))
    found = run_checks(accelerators=(), torch=False, onnxruntime="onnxruntime", timeout=1)
    assert [check.outcome for check in found] == ["missing"] * 3
    assert not any(check.broken for check in found)
    assert found[0].fix == "pip install 'edgetl[openvino]'"
    assert found[2].fix == "pip install 'edgetl[train]'"


@pytest.mark.parametrize(
    ("changes", "accelerators", "broken"),
    [
        ({}, (), []),
        ({}, ("nvidia",), []),
        ({"cuda": "12.8"}, (), []),
        ({"cuda": "12.8"}, ("nvidia",), ["torch cuda"]),
        ({"cuda": "12.8", "cuda device": WORKS}, ("nvidia",), []),
        ({"cuda device": {"outcome": "failed", "note": "x"}}, ("nvidia",), ["torch cuda"]),
        ({"cpu": {"outcome": "failed", "note": "x"}}, (), ["torch cpu"]),
        ({"torchvision": {"outcome": "failed", "note": "no nms"}}, (), ["torchvision cpu"]),
        ({"torchvision": {"outcome": "missing", "note": "x"}}, (), []),
    ],
)
def test_torch(
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    accelerators: tuple[str, ...],
    broken: list[str],
) -> None:
    answers = {("torch",): TORCH | changes}
    found = answered(monkeypatch, answers, torch=True, accelerators=accelerators)
    of_torch = [check for key, check in found.items() if key[0].startswith("torch")]
    assert [f"{one.backend} {one.device}" for one in of_torch if one.broken] == broken
    assert all(one.fix for one in of_torch if one.broken)


def test_torch_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {("torch",): {"outcome": "failed", "note": "ImportError: libtorch.so"}}
    broken = answered(monkeypatch, answers, torch=True)["torch", ""]
    assert broken.broken and "libtorch" in broken.note
