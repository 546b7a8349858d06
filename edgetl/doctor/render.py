"""The report for a reader: plain text as wide as its terminal, at most 100 columns, without a
library."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Sequence

from edgetl.doctor.checks import Check
from edgetl.doctor.examine import DoctorReport
from edgetl.doctor.finding import Finding
from edgetl.doctor.machine import Machine, precision_advice
from edgetl.doctor.packages import Need, pip_line
from edgetl.version import __version__

WIDTH = 100
# Of a terminal that is narrower still the lines are broken by the terminal.
_LEAST = 40
_X86 = ("AVX2", "AVX-512", "VNNI", "BF16", "AMX INT8", "AMX BF16")


def report_lines(report: DoctorReport) -> list[str]:
    """The whole report."""
    return [
        *_wrapped(f"edgetl {__version__}, {report.python}, {report.machine.system}", ""),
        "",
        "Machine",
        *_table(_machine_rows(report.machine)),
        "",
        "Packages",
        *_package_lines(report.packages),
        "",
        *_wrapped("Backends (a tiny network on each device, in a process of its own)", ""),
        *_table([_check_row(check) for check in report.checks]),
        "",
        *finding_lines(report.findings),
        _conclusion(report),
    ]


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """The findings, each in its four parts."""
    lines = []
    for finding in findings:
        lines += _wrapped(f"{finding.kind.upper()}  {finding.subject}", "")
        parts = [("got", finding.got), ("expected", finding.expected), ("to fix", finding.fix)]
        lines += [*_table(parts), ""]
    return lines


def _conclusion(report: DoctorReport) -> str:
    problems = sum(finding.kind == "problem" for finding in report.findings)
    if problems:
        return f"{problems} {'problem' if problems == 1 else 'problems'} to mend"
    return "nothing to mend"


def _machine_rows(machine: Machine) -> list[tuple[str, str]]:
    cores = "cores not known" if machine.cores is None else f"{machine.cores} cores"
    quota = "no quota" if machine.quota is None else f"a quota of {machine.quota:g}"
    rows = [
        ("CPU", machine.cpu),
        (
            "processors",
            f"{machine.threads} ({cores}), {machine.usable} usable by this process, {quota}",
        ),
        ("features", _features(machine)),
        ("precisions", precision_advice(machine.features)),
        ("memory", _memory(machine)),
    ]
    if machine.governor is not None:
        rows.append(("governor", machine.governor))
    if machine.accelerators:
        rows.append(("drivers for", ", ".join(machine.accelerators)))
    return rows


def _features(machine: Machine) -> str:
    if machine.features is None:
        return "not known"
    said = ", ".join(machine.features) or "none of those that matter"
    # What a reader looks for and does not find is said to be absent.
    absent = [name for name in _X86 if name not in machine.features]
    if "x86_64" not in machine.system or not absent:
        return said
    return f"{said}; without {', '.join(absent)}"


def _memory(machine: Machine) -> str:
    if machine.memory_mb is None:
        return "not known"
    said = f"{machine.memory_mb} MiB"
    if machine.available_mb is not None:
        said += f", {machine.available_mb} available"
    if machine.memory_limit_mb is not None:
        said += f", limited to {machine.memory_limit_mb}"
    return said


def _package_lines(packages: Sequence[Need]) -> list[str]:
    if not packages:
        return ["  edgetl runs from a folder that was not installed: its extras are not known here"]
    rows = []
    for extra in dict.fromkeys(need.extra for need in packages):
        needs = [need for need in packages if need.extra == extra]
        here = [_installed(need) for need in needs if need.version is not None]
        missing = [need.name for need in needs if need.version is None]
        said = ", ".join(here) or "none"
        if missing:
            said += f"; missing {', '.join(missing)}: {pip_line(extra)}"
        rows.append((extra or "always", said))
    return _table(rows)


def _installed(need: Need) -> str:
    return f"{need.instead or need.name} {need.version}"


def _check_row(check: Check) -> tuple[str, ...]:
    note = check.note
    if check.fix and not check.broken:
        note = f"{note}: {check.fix}" if note else check.fix
    return check.backend, check.device or "-", check.outcome, note


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their longest cell; the last is wrapped."""
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines += _wrapped(row[-1], "  " + "".join(f"{cell}  " for cell in cells))
    return lines


def _wrapped(text: str, start: str) -> list[str]:
    width = _width()
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=start,
        subsequent_indent=" " * min(len(start), width // 2),
        # A line to copy stays whole where it can.
        break_on_hyphens=False,
    )
    return lines or [start.rstrip()]


def _width() -> int:
    """The terminal's columns, where there is one, and at most `WIDTH`."""
    return min(WIDTH, max(_LEAST, shutil.get_terminal_size((WIDTH, 1)).columns))
