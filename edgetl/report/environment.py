"""Where it ran: the machine, the versions, what really executed, hashes, and the config."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from edgetl.files import canonical_json
from edgetl.report.blocks import Block, Cell, Facts, Grid, Section, Source
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import DASH, clean, count, finite

_WORDS = {
    "cpu": "CPU",
    "gpu": "GPU",
    "cores": "cores",
    "cpu_features": "CPU features",
    "memory_mb": "memory, MiB",
    "mhz": "clock, MHz",
    "governor": "CPU governor",
    "cgroup_quota_cores": "cores a cgroup allows",
    "kernel": "kernel",
    "python": "Python",
    "architecture": "architecture",
}
_APART = ("packages", "warnings")


def section(facts: ReleaseFacts) -> Section | None:
    """Everything one needs to run it again; None when nothing of it is known."""
    blocks = [
        block
        for block in (
            _machine(facts),
            _packages(facts),
            _execution(facts),
            _openings(facts),
            _hashes(facts),
            _config(facts),
        )
        if block is not None
    ]
    if not blocks:
        return None
    ran = []
    if _machine(facts):
        ran.append("Latencies hold for this machine and these versions only.")
    if facts.data.execution:
        ran.append(
            "The table of executions says in which precision each backend really ran its layers, "
            "whatever the file says."
        )
    return Section(
        id="environment",
        title="Where and how it ran" if facts.released or ran else "What was judged",
        read=" ".join(ran) or "Equal hashes name equal inputs.",
        blocks=tuple(blocks),
    )


def _machine(facts: ReleaseFacts) -> Block | None:
    machine = facts.data.machine or (facts.data.bench or {}).get("machine")
    if not machine:
        return None
    known = [key for key in _WORDS if key in machine]
    others = [key for key in machine if key not in _WORDS and key not in _APART]
    return Facts(
        title="Machine",
        pairs=tuple(
            (_WORDS.get(key, clean(key)), _plain(machine[key])) for key in (*known, *sorted(others))
        ),
    )


def _packages(facts: ReleaseFacts) -> Block | None:
    machine = facts.data.machine or (facts.data.bench or {}).get("machine") or {}
    packages = machine.get("packages")
    if not packages:
        return None
    return Facts(
        title="Packages",
        pairs=tuple(
            (clean(name), clean(version, 60)) for name, version in sorted(packages.items())
        ),
    )


def _plain(value: Any) -> str:
    if value is None:
        return DASH
    if isinstance(value, list | tuple):
        return clean(", ".join(map(str, value)), 200) or DASH
    number = finite(value)
    return clean(value, 200) if number is None else f"{number:,.10g}"


def _execution(facts: ReleaseFacts) -> Block | None:
    execution = facts.data.execution
    if not execution:
        return None
    rows = tuple(_executed(str(name), found) for name, found in execution.items())
    return Grid(
        head=("variant", "backend", "device", "version", "threads", "layers by precision"),
        rows=rows,
        numeric=frozenset({4}),
        title="What was executed",
    )


def _executed(name: str, found: Mapping[str, Any]) -> tuple[Cell, ...]:
    counts = Counter(str(layer.get("precision", "?")) for layer in found.get("layers", ()))
    layers = ", ".join(f"{number} {clean(key)}" for key, number in counts.most_common())
    settings = ", ".join(f"{key}={value}" for key, value in (found.get("settings") or {}).items())
    return (
        Cell(text=clean(name), title=clean(settings, 600)),
        Cell(text=clean(found.get("backend", DASH))),
        Cell(text=clean(found.get("device", DASH))),
        Cell(text=clean(found.get("version", DASH), 24), title=clean(found.get("version", ""), 80)),
        Cell(text=_plain(found.get("threads"))),
        Cell(text=layers or DASH),
    )


def _openings(facts: ReleaseFacts) -> Block | None:
    openings = facts.data.openings
    if openings is None:
        return None
    return Grid(
        head=("opening", "for", "reference", "policy", "test split"),
        rows=tuple(
            (
                Cell(text=str(number)),
                Cell(text=clean(", ".join(opening.get("winners", ())) or DASH, 120)),
                *(_digest(opening.get(key)) for key in ("reference", "policy", "test")),
            )
            for number, opening in enumerate(openings, 1)
        ),
        numeric=frozenset({0}),
        title=f"The test split was opened {count(len(openings), 'time')}",
        caption="The more often, the less a PASS means.",
    )


def _hashes(facts: ReleaseFacts) -> Block | None:
    data = facts.data.verdict["data"]
    hashes = dict(facts.data.hashes or {})
    if data.get("hash"):
        hashes = {f"{facts.split} split": data["hash"], **hashes}
    if not hashes:
        return None
    return Grid(
        head=("what", "SHA-256"),
        rows=tuple(
            (Cell(text=clean(name, 60)), Cell(text=clean(value, 72)))
            for name, value in hashes.items()
        ),
        title="Hashes",
    )


def _digest(value: object) -> Cell:
    return Cell(text=clean(value or DASH)[:12], title=clean(value or "", 80))


def _config(facts: ReleaseFacts) -> Block | None:
    config = facts.data.config
    if not config:
        return None
    return Source(
        title="The config, with every default written in",
        text=canonical_json(dict(config)).decode(),
    )
