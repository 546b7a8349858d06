"""The head of the page: what was decided, why, what ships and how fast it is."""

from __future__ import annotations

from edgetl.bench.compare import Ratio
from edgetl.report.blocks import Hero, Shipped
from edgetl.report.content import REFERENCE
from edgetl.report.documents import Table
from edgetl.report.facts import ReleaseFacts
from edgetl.report.gates import (
    LIMITS,
    SIGNS,
    TONES,
    amount,
    decided_by,
    gate_name,
    judged_figure,
    kind_of_gate,
)
from edgetl.report.numbers import clean, count, finite, percent, significant, times
from edgetl.report.sentence import sentence

_REMARKS = 6
"""The most gates that the head of the page tells of: the rest is in the picture below it."""


def hero(facts: ReleaseFacts) -> Hero:
    """The verdict in a sentence, with what ships and the limits it was taken against."""
    verdict = facts.data.verdict
    policy: Table = verdict["policy"]
    return Hero(
        outcome=clean(facts.outcome),
        tone=TONES.get(facts.outcome, ""),
        sign=SIGNS.get(facts.outcome, "?"),
        sentence=sentence(facts),
        remarks=_remarks(facts),
        shipped=tuple(_shipped(facts, name) for name in facts.shipped),
        limits=_limits(facts, policy),
        judged=bool(facts.judged),
        released=facts.released,
        scope=f"{clean(verdict['data'].get('name', 'stored predictions'))} · {facts.scope()}",
        policy=_policy(facts, policy),
    )


def _limits(facts: ReleaseFacts, policy: Table) -> tuple[tuple[str, str], ...]:
    """The limits that something was held against."""
    idle = {
        kind_of_gate(gate["name"])
        for entry in facts.judged.values()
        for gate in entry.get("gates", ())
        if gate["verdict"] == "NOT JUDGED"
    }
    return tuple(
        (
            "each slice: top-1 lost" if gate == "slice" else gate_name(facts, gate),
            f"≤ {amount(gate, policy[key], limit=policy[key])}"
            + (" (percentage points)" if gate == "top1_drop" else ""),
        )
        for key, gate in LIMITS.items()
        if policy.get(key) is not None and gate not in idle
    )


def _remarks(facts: ReleaseFacts) -> tuple[str, ...]:
    """Each gate that did not pass, and each required backend without a variant."""
    verdict = facts.data.verdict
    backends = {str(entry.get("backend")) for entry in facts.judged.values()}
    remarks = [
        f"{clean(name)}: no candidate was left to judge.{_why_none(verdict, name)}"
        for name in verdict.get("required", ())
        if name not in backends
    ]
    gates = [
        (gate["verdict"] != "FAIL", f"{clean(name)}: {_gate(facts, gate)}{_detail(gate)}.")
        for name, entry in facts.judged.items()
        for gate in entry.get("gates", ())
        if gate["verdict"] in ("FAIL", "INCONCLUSIVE")
    ]
    words = [remark for _, remark in sorted(gates, key=lambda one: one[0])]
    if len(words) > _REMARKS:
        words[_REMARKS:] = [
            f"{count(len(words) - _REMARKS, 'further gate')} did not pass: see below."
        ]
    notes = [
        f"{clean(name)}: {clean(note, 300)}."
        for name, entry in facts.judged.items()
        for note in entry.get("notes", ())
    ]
    return (*remarks, *words, *notes)


def _why_none(verdict: Table, backend: object) -> str:
    """Why the fastest of a backend's candidates was not judged."""
    entries = [entry for entry in verdict.get("selection", ()) if entry.get("backend") == backend]
    if not entries:
        return ""
    fastest = min(entries, key=lambda entry: finite(entry.get("p50_ms")) or float("inf"))
    return f" The fastest, {clean(fastest['id'])}: {clean(fastest.get('reason', ''), 300)}."


def _detail(gate: Table) -> str:
    detail = clean(gate.get("detail") or "", 200)
    return f" ({detail})" if detail else ""


def _gate(facts: ReleaseFacts, gate: Table) -> str:
    name, bound = str(gate["name"]), gate["limit"]
    what, limit = gate_name(facts, name), amount(name, bound, limit=bound)
    if gate["verdict"] == "FAIL":
        return f"{what} is {judged_figure(gate)}, over the limit {limit}"
    low, high = (amount(name, gate.get(key), limit=bound) for key in ("lower", "upper"))
    seen = (
        f"lies between {low} and {high}"
        if finite(gate.get("upper")) is not None
        else "has no upper bound yet"
    )
    return f"{what} {seen}, the limit is {limit}; {decided_by(gate)}"


def _shipped(facts: ReleaseFacts, name: str) -> Shipped:
    figures = [
        _speed(facts.faster(name, REFERENCE), f"the speed of {facts.reference_name}"),
        _against_fp32(facts, name),
        _latency(facts, name),
        _accuracy(facts, name),
    ]
    return Shipped(
        id=clean(name),
        backend=clean(facts.judged[name].get("backend", "")),
        figures=tuple(figure for figure in figures if figure is not None),
    )


def _against_fp32(facts: ReleaseFacts, name: str) -> tuple[str, str, str] | None:
    best, what = facts.best_fp32, "the speed of the best FP32"
    if best is None:
        return None
    if best == name:
        return "1.00×", what, "which it is itself"
    return _speed(facts.faster(name, best), what, f"{clean(best, 20)}; ")


def _speed(found: Ratio | None, what: str, beside: str = "") -> tuple[str, str, str] | None:
    if found is None:
        return None
    interval = f"{beside}95 % interval {significant(found.lower)} to {significant(found.upper)}"
    return times(found.estimate), what, interval


def _latency(facts: ReleaseFacts, name: str) -> tuple[str, str, str] | None:
    cell = facts.cells.get(name)
    if cell is None:
        return None
    size = finite(cell.get("size_mb"))
    below = f"p99 {significant(cell.get('p99_ms'))} ms"
    return (
        f"{significant(cell['p50_ms'])} ms",
        "median latency",
        below if size is None else f"{below} · {significant(size)} MB",
    )


def _accuracy(facts: ReleaseFacts, name: str) -> tuple[str, str, str] | None:
    metrics = facts.judged[name].get("metrics", {})
    if "candidate" not in metrics:
        return None
    return (
        percent(metrics["candidate"].get("top1")),
        f"top-1 on {clean(facts.split)}",
        f"reference {percent(metrics.get('reference', {}).get('top1'))}",
    )


def _policy(facts: ReleaseFacts, policy: Table) -> str:
    alpha = finite(policy.get("alpha"))
    used = {finite(entry.get("alpha")) for entry in facts.judged.values()}
    one = next(iter(used), None)
    if alpha is None or not facts.judged:
        return ""
    text = f"Every bound is one-sided at {100 * (1 - (one or alpha)):g} %"
    if one is not None and one < alpha:
        text += f": α = {alpha:g} shared by {count(len(facts.judged), 'judged variant')}"
    return text + "."
