"""The gates in words: what each bounds, in which unit, and what more would decide it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgetl.gate.verdict import LATENCY, MEASURED, P90, SLICE
from edgetl.report.blocks import Tone
from edgetl.report.documents import Table
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import DASH, clean, count, finite, number, significant, times

TONES: Mapping[str, Tone] = MappingProxyType(
    {"PASS": "pass", "FAIL": "fail", "INCONCLUSIVE": "unsure"}
)
SIGNS: Mapping[str, str] = MappingProxyType({"PASS": "✓", "FAIL": "✕", "INCONCLUSIVE": "?"})

GATES: Mapping[str, str] = MappingProxyType(
    {
        "top1_drop": "top-1 lost",
        "nll": "NLL added",
        "brier": "Brier added",
        "confidence_gap": "confidence gap",
        "log_temperature_ratio": "log temperature ratio",
        "flips": "answers changed",
        "worst_class": "worst class: recall lost",
        "latency": "p50",
        "p90_ratio": "p90",
        "p99_ms": "p99",
        "size_mb": "size",
        "memory_mb": "peak memory",
    }
)
LIMITS: Mapping[str, str] = MappingProxyType(
    {
        "max_accuracy_drop": "top1_drop",
        "max_nll_increase": "nll",
        "max_brier_increase": "brier",
        "max_confidence_gap": "confidence_gap",
        "max_log_temperature_ratio": "log_temperature_ratio",
        "max_flip_rate": "flips",
        "max_worst_class_drop": "worst_class",
        "max_slice_drop": "slice",
        "max_p50_ratio": "latency",
        "max_p90_ratio": "p90_ratio",
        "max_p99_ms": "p99_ms",
        "max_size_mb": "size_mb",
        "max_memory_mb": "memory_mb",
    }
)
"""The policy's keys and the gate that each is the limit of."""

_RATIOS = frozenset({LATENCY, P90})
_POINTS = frozenset({"top1_drop", "confidence_gap", "worst_class", "slice"})
_UNITS = MappingProxyType({"nll": " nats", "p99_ms": " ms", "size_mb": " MiB", "memory_mb": " MiB"})

INPUTS = ("more labelled input", "more labelled inputs")
"""What most gates' `more_samples` counts."""

_FINE = 1e-4
"""A limit under this needs more decimals than the page writes, and so do the harms beside it."""


def kind_of_gate(gate: object) -> str:
    """A gate's kind: all slices are of one.

    Example:
        >>> kind_of_gate("slice:camera=night"), kind_of_gate("nll")
        ('slice', 'nll')
    """
    return "slice" if str(gate).startswith(SLICE) else str(gate)


def gate_name(facts: ReleaseFacts, gate: object) -> str:
    """What a gate bounds, in words."""
    kind = kind_of_gate(gate)
    if kind in _RATIOS:
        return f"{GATES[kind]} against {facts.reference_name}"
    if kind != "slice":
        return GATES.get(kind, clean(gate))
    column, _, value = str(gate).removeprefix(SLICE).partition("=")
    return f"{clean(column, 24)} = {clean(value, 24)}: top-1 lost" if value else "top-1 lost, slice"


def amount(gate: str, value: object, *, limit: object = None) -> str:
    """A harm in its gate's unit, in as many digits as its limit asks for.

    Example:
        >>> amount("top1_drop", 0.01), amount("nll", 0.02), amount("latency", 1.0)
        ('1.00 pt', '0.0200 nats', '1.00×')
        >>> amount("nll", 3e-9, limit=1e-9), amount("p99_ms", 18.25)
        ('3.0e−09 nats', '18.2 ms')
    """
    kind = kind_of_gate(gate)
    found, bound = finite(value), finite(limit)
    if found is None:
        return DASH
    if kind in _RATIOS:
        return times(value)
    if kind in MEASURED:
        return significant(value) + _UNITS[kind]
    fine = bound is not None and 0 < bound < _FINE
    percents = kind in _POINTS or kind == "flips"
    scale, digits = (100, 2) if percents else (1, 4)
    shown = significant(scale * found, 2) if fine else number(scale * found, digits)
    return shown + (" pt" if kind in _POINTS else " %" if percents else _UNITS.get(kind, ""))


def decided_by(gate: Table) -> str:
    """What would decide an open gate, in words."""
    more = finite(gate.get("more_samples"))
    if more is None:
        return "no number of further samples decides it while the harm lies on the limit"
    return f"{count(more, *more_of(gate))} would decide it with 80 % power"


def counts_inputs(gate: Table) -> bool:
    """Whether a gate's n and `more_samples` are labelled inputs, rather than measurements."""
    return kind_of_gate(gate["name"]) not in MEASURED


def more_of(gate: Table) -> tuple[str, str]:
    """What a gate's `more_samples` counts, for one and for many."""
    kind = kind_of_gate(gate["name"])
    if kind in _RATIOS:
        return "more round of measurement", "more rounds of measurement"
    if kind in MEASURED:
        return "more measured call", "more measured calls"
    if kind == "slice":
        return "more labelled input of the slice", "more labelled inputs of the slice"
    return INPUTS


def judged_figure(gate: Table) -> str:
    """The bound that decides a gate, in words: what is shown at most, or at least where it fails.

    Example:
        >>> judged_figure({"name": "nll", "verdict": "PASS", "upper": 0.0173, "limit": 0.02})
        'at most 0.0173 nats'
    """
    name, bound = str(gate["name"]), gate["limit"]
    if gate["verdict"] == "FAIL":
        return f"at least {amount(name, gate.get('lower'), limit=bound)}"
    if finite(gate.get("upper")) is None:
        return "no upper bound"
    return f"at most {amount(name, gate['upper'], limit=bound)}"
