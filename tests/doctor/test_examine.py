from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgetl
from edgetl.doctor.checks import Check
from edgetl.doctor.examine import report
from edgetl.doctor.machine import Machine
from edgetl.doctor.packages import Installed

MACHINE = Machine(
    cpu="Some CPU",
    system="Linux 6.1 x86_64",
    threads=4,
    cores=2,
    usable=4,
    quota=None,
    memory_mb=8192,
    available_mb=4096,
    memory_limit_mb=None,
    governor=None,
    features=("AVX2", "VNNI"),
    accelerators=(),
)
CPU = Check(backend="openvino", device="CPU", outcome="works", expected=True)


def test_nothing_broken_is_exit_0() -> None:
    missing = Check(
        backend="torch", device="", outcome="missing", expected=False, fix="pip install x"
    )
    found = report([], MACHINE, [CPU, missing])
    assert found.findings == () and found.ok and found.exit_code == 0


@pytest.mark.parametrize(
    "checks", [[], [dataclasses.replace(CPU, outcome="missing", expected=False)]]
)
def test_an_environment_without_a_backend_is_said(checks: list[Check]) -> None:
    (finding,) = report([], MACHINE, checks).findings
    assert finding.kind == "note" and "edgetl[openvino]" in finding.fix


def test_a_broken_backend_is_exit_1_and_comes_first() -> None:
    slow = dataclasses.replace(MACHINE, governor="powersave")
    failed = Check(
        backend="onnxruntime",
        device="CPUExecutionProvider",
        outcome="failed",
        expected=True,
        note="SIGSEGV",
        fix="mend it",
    )
    found = report([], slow, [CPU, failed])
    assert found.exit_code == 1
    assert [finding.kind for finding in found.findings] == ["problem", "note"]
    assert found.findings[0].subject == "onnxruntime on CPUExecutionProvider"
    assert (found.findings[0].got, found.findings[0].fix) == ("SIGSEGV", "mend it")


def test_a_conflict_is_exit_1() -> None:
    both = [Installed(name=name, version="1") for name in ("onnxruntime", "onnxruntime-gpu")]
    assert report(both, MACHINE, [CPU]).exit_code == 1


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"quota": 1.5}, "--threads 1,"),
        ({"quota": 0.5}, "--threads 1,"),
        ({"governor": "powersave"}, "cpupower"),
        ({"accelerators": ("intel gpu",)}, "OpenCL"),
        ({"accelerators": ("intel npu",)}, "NPU driver"),
    ],
)
def test_what_could_be_better_is_a_note(changes: dict[str, object], fix: str) -> None:
    found = report([], dataclasses.replace(MACHINE, **changes), [CPU])
    assert [finding.kind for finding in found.findings] == ["note"]
    assert fix in found.findings[0].fix
    assert found.exit_code == 0


@pytest.mark.parametrize(
    "changes",
    [{"quota": 4.0}, {"governor": "performance"}, {"accelerators": ("nvidia",)}],
)
def test_what_is_fine_is_not_noted(changes: dict[str, object]) -> None:
    assert report([], dataclasses.replace(MACHINE, **changes), [CPU]).findings == ()


def test_a_gpu_that_openvino_sees_is_not_noted() -> None:
    machine = dataclasses.replace(MACHINE, accelerators=("intel gpu",))
    gpu = dataclasses.replace(CPU, device="GPU.0")
    assert report([], machine, [CPU, gpu]).findings == ()


def test_it_is_plain_data() -> None:
    document = report([], MACHINE, [CPU]).to_json()
    assert json.loads(json.dumps(document)) | {"schema": "edgetl.doctor/1"} == json.loads(
        json.dumps(document)
    )
    assert set(document) == {
        "schema", "ok", "edgetl", "python", "machine", "packages", "checks", "findings",
    }  # fmt: skip


CPUS = (
    ("openvino", "CPU"),
    ("onnxruntime", "CPUExecutionProvider"),
    ("torch", "cpu"),
    ("torchvision", "cpu"),
)
DOCTOR = "from edgetl.cli.main import main\ncode = main(['doctor'])\n"


def run(script: str, folder: Path, *flags: str, prefix: tuple[str, ...] = ()) -> str:
    """Run Python in an empty home, without the variables that quieten telemetry in CI."""
    quiet = ("CI", "GITHUB_", "BUILD_", "ORT_", "PYTHON")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(quiet)}
    done = subprocess.run(
        [*prefix, sys.executable, *flags, "-c", script],
        cwd=folder,
        env={**environment, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.needs_strace
def test_it_imports_no_runtime_opens_no_socket_and_writes_nothing(tmp_path: Path) -> None:
    home, trace = tmp_path / "home", tmp_path / "trace"
    home.mkdir()
    (home / "json.py").write_text("raise SystemExit('imported from the working directory')")
    script = (
        "import sys; sys.path.remove('')\n" + DOCTOR + "loaded = set(sys.modules)\n"
        "print(code, sorted(loaded & {'torch', 'onnxruntime', 'openvino', 'rich', 'onnx'}))"
    )
    strace = ("strace", "-f", "-qq", "-e", "trace=socket,connect,sendto", "-o", str(trace))
    shown = run(script, home, prefix=strace)
    assert shown.splitlines()[-1] == "0 []"
    for backend, device in CPUS:
        assert re.search(rf"{backend} +{device} +works ", shown)
    assert [line for line in trace.read_text().splitlines() if "AF_INET" in line] == []
    assert [path.name for path in home.iterdir()] == ["json.py"]


def test_it_runs_where_only_numpy_and_pillow_are(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    for path in Path(np.__file__).parent.parent.iterdir():
        # The package, its libraries and its metadata.
        if re.fullmatch(r"(numpy|PIL|pillow)(\.libs|-.*\.dist-info)?", path.name):
            (site / path.name).symlink_to(path)
    (site / "edgetl").symlink_to(Path(edgetl.__file__).parent)
    info = site / "edgetl-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: edgetl\nVersion: 1\nRequires-Dist: numpy>=1.26\n"
        'Requires-Dist: onnxruntime>=1.23; extra == "cpu"\nProvides-Extra: cpu\n'
    )
    shown = run(
        f"import sys; sys.path.append({str(site)!r})\n"
        "import importlib.util as u; assert not u.find_spec('rich')\n" + DOCTOR + "print(code)",
        tmp_path,
        "-S",
        "-P",
    )
    assert "missing onnxruntime: pip install 'edgetl[cpu]'" in shown
    assert "onnxruntime  -  missing  not installed: pip install 'edgetl[cpu]'" in shown
