"""Everything that doctor looks at, in one report."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import edgetl
from edgetl.backends import registry
from edgetl.doctor.checks import Check, run_checks
from edgetl.doctor.conflicts import conflicts
from edgetl.doctor.finding import Finding
from edgetl.doctor.machine import Machine, precision_advice, read_machine
from edgetl.doctor.packages import RIVALS, Installed, Need, installed_packages, needs
from edgetl.version import __version__

TIMEOUT_S = 120.0
"""Seconds that one try may take; torch alone takes many on a slow disk."""


@dataclass(frozen=True, kw_only=True)
class DoctorReport:
    """What was found.

    Attributes:
        python: Python's version and where it is.
        machine: The machine.
        packages: What each extra needs, and what there is of it.
        checks: Each backend on each device.
        findings: What to mend first, then what is worth knowing.
    """

    python: str
    machine: Machine
    packages: tuple[Need, ...]
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is broken. What is optional and missing is not broken."""
        return not any(finding.kind == "problem" for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """1 when something should be mended, else 0."""
        return 0 if self.ok else 1

    def to_json(self) -> dict[str, Any]:
        """The report as plain data, schema ``edgetl.doctor/1``."""
        advice = precision_advice(self.machine.features)
        return {
            "schema": "edgetl.doctor/1",
            "ok": self.ok,
            "edgetl": __version__,
            "python": self.python,
            "machine": asdict(self.machine) | {"precision_advice": advice},
            "packages": [asdict(need) for need in self.packages],
            "checks": [asdict(check) for check in self.checks],
            "findings": [asdict(finding) for finding in self.findings],
        }


def examine(*, timeout: float = TIMEOUT_S, root: Path = Path("/")) -> DoctorReport:
    """Look at this machine and this Python; nothing is written and nothing is sent.

    Args:
        timeout: Seconds that one try of a backend may take.
        root: Where ``proc``, ``sys`` and ``dev`` are found; tests give their own.
    """
    installed = installed_packages()
    machine = read_machine(root)
    names = {one.name for one in installed}
    checks = run_checks(
        accelerators=machine.accelerators,
        torch="torch" in names,
        onnxruntime=_package(names, "onnxruntime"),
        timeout=timeout,
    )
    return report(installed, machine, checks)


def report(
    installed: Sequence[Installed], machine: Machine, checks: Sequence[Check]
) -> DoctorReport:
    """Put together what was found.

    Args:
        installed: The packages, of `packages.installed_packages`.
        machine: The machine.
        checks: The tries.
    """
    findings = [
        *conflicts(
            installed,
            running=str(Path(edgetl.__file__).resolve().parent.parent),
            environment=os.environ,
        ),
        *(_broken(check) for check in checks if check.broken),
        *_notes(machine, checks),
    ]
    return DoctorReport(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        machine=machine,
        packages=needs(installed),
        checks=tuple(checks),
        findings=tuple(sorted(findings, key=lambda finding: finding.kind != "problem")),
    )


def _package(names: set[str], plain: str) -> str:
    return next((name for name in (*RIVALS[plain], plain) if name in names), plain)


def _broken(check: Check) -> Finding:
    return Finding(
        kind="problem",
        subject=f"{check.backend} on {check.device}" if check.device else check.backend,
        got=check.note,
        expected="the right answer of a tiny network",
        fix=check.fix,
    )


def _notes(machine: Machine, checks: Sequence[Check]) -> list[Finding]:
    found = []
    if machine.quota is not None and machine.quota < machine.usable:
        threads = max(1, int(machine.quota))
        found.append(
            Finding(
                kind="note",
                subject="CPU quota",
                got=f"{machine.quota:g} processors' time for {machine.usable} processors",
                expected="no more threads than the quota feeds",
                fix=f"--threads {threads}, or raise the quota of the container",
            )
        )
    if machine.governor not in (None, "performance"):
        found.append(
            Finding(
                kind="note",
                subject="CPU frequency",
                got=f"the governor '{machine.governor}'",
                expected="'performance' while latency is measured",
                fix="sudo cpupower frequency-set --governor performance",
            )
        )
    return [*_no_backend(checks), *found, *_unused(machine, checks)]


def _no_backend(checks: Sequence[Check]) -> list[Finding]:
    """An environment without a backend is whole, and can do nothing with a bundle."""
    runtimes = [check for check in checks if check.backend in registry.names()]
    if any(check.outcome == "works" or check.broken for check in runtimes):
        return []
    return [
        Finding(
            kind="note",
            subject="backends",
            got="none that works: no bundle can answer here",
            expected=f"one of {', '.join(registry.names())}",
            fix="pip install 'edgetl[cpu]' or 'edgetl[openvino]'",
        )
    ]


def _unused(machine: Machine, checks: Sequence[Check]) -> list[Finding]:
    """Accelerators that have a driver, and that OpenVINO does not see."""
    seen = {check.device.partition(".")[0] for check in checks if check.backend == "openvino"}
    if not any(check.backend == "openvino" and check.outcome == "works" for check in checks):
        return []
    wanted = {
        "intel gpu": ("GPU", "install Intel's OpenCL compute runtime (intel-opencl-icd)"),
        "intel npu": ("NPU", "install Intel's NPU driver for user space"),
    }
    return [
        Finding(
            kind="note",
            subject=f"Intel {device}",
            got="a driver in the kernel, and no such device in OpenVINO",
            expected=f"OpenVINO with the device {device}",
            fix=fix,
        )
        for name, (device, fix) in wanted.items()
        if name in machine.accelerators and device not in seen
    ]
