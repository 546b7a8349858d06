from __future__ import annotations

import dataclasses

import pytest

from edgetl.doctor.checks import Check
from edgetl.doctor.examine import DoctorReport
from edgetl.doctor.finding import Finding
from edgetl.doctor.machine import Machine
from edgetl.doctor.packages import Need
from edgetl.doctor.render import report_lines

REPORT = DoctorReport(
    python="CPython 3.11.7",
    machine=Machine(
        cpu="A processor of a very long name " * 5,
        system="Linux 6.1 x86_64",
        threads=4,
        cores=None,
        usable=4,
        quota=1.5,
        memory_mb=8192,
        available_mb=4096,
        memory_limit_mb=2048,
        governor="powersave",
        features=("AVX2", "VNNI"),
        accelerators=("nvidia",),
    ),
    packages=(
        Need(extra="", name="numpy", bounds=">=1.26", version="2.1"),
        Need(extra="cpu", name="onnxruntime", bounds="", version="1.2", instead="onnxruntime-gpu"),
        Need(extra="train", name="torch", bounds=">=2.9", version=None),
        *(Need(extra="train", name=f"package-{n}", bounds="", version="1.0") for n in range(30)),
    ),
    checks=(
        Check(backend="openvino", device="CPU", outcome="works", expected=True, note="fine"),
        Check(backend="torch", device="", outcome="missing", expected=False, fix="pip install t"),
        Check(backend="x", device="Y", outcome="failed", expected=True, note="w " * 200, fix="z"),
    ),
    findings=(
        Finding(kind="problem", subject="x on Y", got="w " * 200, expected="z", fix="mend it"),
    ),
)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_it_fits_its_terminal_and_100_columns(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    longest = max(map(len, report_lines(REPORT)))
    assert min(columns, 100) - 15 < longest <= min(columns, 100)


def test_what_it_says() -> None:
    lines = report_lines(REPORT)
    text = "\n".join(lines)
    assert "a quota of 1.5" in text and "limited to 2048" in text and "powersave" in text
    assert "AVX2, VNNI; without AVX-512, BF16, AMX INT8, AMX BF16" in text
    assert "onnxruntime-gpu 1.2" in text
    assert "pip install 'edgetl[train]'" in " ".join(text.split())
    assert "pip install t" in text
    assert "PROBLEM  x on Y" in lines
    assert "  to fix    mend it" in lines
    assert lines[-1] == "1 problem to mend"


def test_nothing_to_mend_is_said() -> None:
    assert report_lines(dataclasses.replace(REPORT, findings=()))[-1] == "nothing to mend"


def test_what_is_not_known_is_said() -> None:
    machine = dataclasses.replace(
        REPORT.machine, features=None, memory_mb=None, quota=None, governor=None
    )
    lines = report_lines(dataclasses.replace(REPORT, machine=machine, packages=()))
    assert "  features    not known, measure" not in lines
    assert sum("not known" in line for line in lines) >= 4
