"""The verdict in one sentence, with why."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgetl.report.documents import Table
from edgetl.report.facts import ReleaseFacts
from edgetl.report.gates import (
    INPUTS,
    amount,
    counts_inputs,
    gate_name,
    judged_figure,
    kind_of_gate,
    more_of,
)
from edgetl.report.numbers import clean, count, finite, listed


def sentence(facts: ReleaseFacts) -> str:
    """What was decided on how much, and the gate that decides it."""
    if facts.outcome == "PASS":
        return _passed(facts)
    return _failed(facts) if facts.outcome == "FAIL" else _open(facts)


def _passed(facts: ReleaseFacts) -> str:
    are = "are" if len(facts.shipped) > 1 else "is"
    return (
        f"On {_inputs(facts)}, {_listed(facts.shipped)} {are} shown to stay within every limit of "
        f"harm: still the same classifier as the reference.{_closest(facts)}"
    )


def _closest(facts: ReleaseFacts) -> str:
    """The gate that passed with the least room."""
    known = [
        (float(gate["upper"]) / float(gate["limit"]), gate)
        for gate in _gates(facts, "PASS", of=facts.shipped)
        if finite(gate.get("upper")) is not None and (finite(gate.get("limit")) or 0) > 0
    ]
    if not known:
        return ""
    _, gate = max(known, key=lambda one: one[0])
    return f" The closest call: {_against(facts, gate)}."


def _failed(facts: ReleaseFacts) -> str:
    broken = [name for name, entry in facts.judged.items() if entry.get("verdict") == "FAIL"]
    if not broken:
        return "A required backend has no candidate that could be judged, so nothing ships."
    gates = _gates(facts, "FAIL", of=broken)
    are = "are" if len(broken) > 1 else "is"
    return (
        f"On {_inputs(facts)}, {_listed(broken)} {are} shown to break a limit of harm"
        f"{', so nothing ships' if facts.released else ''}{_worst(facts, gates)}."
    )


def _worst(facts: ReleaseFacts, gates: Sequence[Table]) -> str:
    known = [
        (float(gate["lower"]) / float(gate["limit"]), gate)
        for gate in gates
        if finite(gate.get("lower")) is not None and (finite(gate.get("limit")) or 0) > 0
    ]
    if not known:
        return ""
    _, gate = max(known, key=lambda one: one[0])
    others = f"; {count(len(gates) - 1, 'further gate')} failed" if len(gates) > 1 else ""
    return f": {_against(facts, gate)}{others}"


def _against(facts: ReleaseFacts, gate: Table) -> str:
    name, bound = str(gate["name"]), gate["limit"]
    allowed = amount(name, bound, limit=bound)
    return f"{gate_name(facts, name)} is {judged_figure(gate)}, and {allowed} is allowed"


def _open(facts: ReleaseFacts) -> str:
    gates = _gates(facts, "INCONCLUSIVE")
    ending = f"undecided is not a pass{', so nothing ships' if facts.released else ''}."
    if gates and not any(counts_inputs(gate) for gate in gates):
        return (
            f"The latency measured does not decide whether it is within its limit; {ending} "
            f"{_plan(facts, gates, 'the limit')}"
        ).rstrip()
    verb = "does" if facts.n == 1 else "do"
    return (
        f"{_inputs(facts)} {verb} not decide whether every harm is within its limit; {ending} "
        f"{_plan(facts, gates, 'each limit')}"
    ).rstrip()


def _plan(facts: ReleaseFacts, gates: Sequence[Table], limit: str) -> str:
    """How many more would decide all of these gates; nothing when no number is known to."""
    wanted: dict[tuple[str, str], float] = {}
    for gate in gates:
        more = finite(gate.get("more_samples"))
        if more is None:
            return ""
        unit = more_of(gate)
        if kind_of_gate(gate["name"]) == "slice":
            # A slice gets its share of further inputs of the same mix.
            unit = INPUTS
            more = math.ceil(more * facts.n / max(1, int(gate["n"])))
        wanted[unit] = max(more, wanted.get(unit, 0))
    words = listed([count(more, *unit) for unit, more in wanted.items()])
    return f"{words} would, with 80 % power for {limit}." if words else ""


def _gates(facts: ReleaseFacts, verdict: str, *, of: Sequence[str] | None = None) -> list[Table]:
    return [
        gate
        for name, entry in facts.judged.items()
        if of is None or name in of
        for gate in entry.get("gates", ())
        if gate["verdict"] == verdict
    ]


def _inputs(facts: ReleaseFacts) -> str:
    return count(facts.n, "labelled input")


def _listed(names: Sequence[str]) -> str:
    return listed([clean(name) for name in names] or ["the judged variant"])
