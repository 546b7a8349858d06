"""The head of the page: what was decided, why, what ships and how fast it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgetl.bench.compare import Ratio
from edgetl.report.blocks import Hero, Shipped, Tone
from edgetl.report.content import REFERENCE, Table
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import DASH, clean, count, finite, number, percent, significant, times

TONES: Mapping[str, Tone] = {"PASS": "pass", "FAIL": "fail", "INCONCLUSIVE": "unsure"}
_SIGNS = {"PASS": "✓", "FAIL": "✕", "INCONCLUSIVE": "?"}

GATES = {
    "top1_drop": "top-1 lost",
    "nll": "NLL added",
    "brier": "Brier added",
    "flips": "answers changed",
    "latency": "p50",
}
LIMITS = {
    "max_accuracy_drop": "top1_drop",
    "max_nll_increase": "nll",
    "max_brier_increase": "brier",
    "max_flip_rate": "flips",
    "max_p50_ratio": "latency",
}


_FINE = 1e-4
"""A limit under this needs more decimals than the page writes, and so do the harms beside it."""


def gate_name(facts: ReleaseFacts, gate: object) -> str:
    """What a gate bounds, in words."""
    if gate == "latency":
        return f"{GATES['latency']} against {facts.reference_name}"
    return GATES.get(str(gate), clean(gate))


def amount(gate: str, value: object, *, limit: object = None) -> str:
    """A harm in its gate's unit, in as many digits as its limit asks for.

    Example:
        >>> amount("top1_drop", 0.01), amount("nll", 0.02), amount("latency", 1.0)
        ('1.00 pt', '0.0200 nats', '1.00×')
        >>> amount("nll", 3e-9, limit=1e-9)
        '3.0e−09 nats'
    """
    found, bound = finite(value), finite(limit)
    if found is None:
        return DASH
    if gate == "latency":
        return times(value)
    fine = bound is not None and 0 < bound < _FINE
    scale, digits = (100, 2) if gate in ("top1_drop", "flips") else (1, 4)
    shown = significant(scale * found, 2) if fine else number(scale * found, digits)
    unit = {"top1_drop": " pt", "flips": " %", "nll": " nats"}.get(gate, "")
    return shown + unit


def hero(facts: ReleaseFacts) -> Hero:
    """The verdict in a sentence, with what ships and the limits it was taken against."""
    verdict = facts.data.verdict
    policy: Table = verdict["policy"]
    return Hero(
        outcome=clean(facts.outcome),
        tone=TONES.get(facts.outcome, ""),
        sign=_SIGNS.get(facts.outcome, "?"),
        sentence=_sentence(facts),
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
        gate["name"]
        for entry in facts.judged.values()
        for gate in entry.get("gates", ())
        if gate["verdict"] == "NOT JUDGED"
    }
    return tuple(
        (
            gate_name(facts, gate),
            f"≤ {amount(gate, policy[key], limit=policy[key])}"
            + (" (percentage points)" if gate == "top1_drop" else ""),
        )
        for key, gate in LIMITS.items()
        if key in policy and gate not in idle
    )


def _sentence(facts: ReleaseFacts) -> str:
    inputs = count(facts.n, "labelled input")
    if facts.outcome == "PASS":
        are = "are" if len(facts.shipped) > 1 else "is"
        return (
            f"On {inputs}, {_listed(facts.shipped)} {are} shown to stay within every limit of "
            "harm: still the same classifier as the reference."
        )
    if facts.outcome == "FAIL":
        broken = [name for name, entry in facts.judged.items() if entry.get("verdict") == "FAIL"]
        if not broken:
            return "A required backend has no candidate that could be judged, so nothing ships."
        return (
            f"On {inputs}, {_listed(broken)} {'are' if len(broken) > 1 else 'is'} shown to break "
            f"a limit of harm{', so nothing ships' if facts.released else ''}."
        )
    undecided = _undecided(facts)
    latency = [gate for gate in undecided if gate["name"] == "latency"]
    ending = f"undecided is not a pass{', so nothing ships' if facts.released else ''}."
    if latency and len(latency) == len(undecided):
        return (
            f"The latency measured does not decide whether it is within its limit; {ending} "
            f"{_plan(latency, 'more round', 'the limit')}"
        ).rstrip()
    verb = "does" if facts.n == 1 else "do"
    others = [gate for gate in undecided if gate["name"] != "latency"]
    return (
        f"{inputs} {verb} not decide whether every harm is within its limit; {ending} "
        f"{_plan(others, 'more labelled input', 'each limit')}"
    ).rstrip()


def _undecided(facts: ReleaseFacts) -> list[Table]:
    return [
        gate
        for entry in facts.judged.values()
        for gate in entry.get("gates", ())
        if gate["verdict"] == "INCONCLUSIVE"
    ]


def _plan(gates: Sequence[Table], unit: str, limit: str) -> str:
    """How many more would decide all of these gates; nothing when no number is known to."""
    wanted = [finite(gate.get("more_samples")) for gate in gates]
    known = [more for more in wanted if more is not None]
    if not known or len(known) < len(wanted):
        return ""
    return f"{count(max(known), unit)} would, with 80 % power for {limit}."


def _listed(names: Sequence[str]) -> str:
    shown = [clean(name) for name in names] or ["the judged variant"]
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " and " + shown[-1]


def _remarks(facts: ReleaseFacts) -> tuple[str, ...]:
    """Each gate that did not pass, and each required backend without a variant."""
    verdict = facts.data.verdict
    backends = {str(entry.get("backend")) for entry in facts.judged.values()}
    remarks = [
        f"{clean(name)}: no candidate was left to judge.{_why_none(verdict, name)}"
        for name in verdict.get("required", ())
        if name not in backends
    ]
    for name, entry in facts.judged.items():
        remarks += [
            f"{clean(name)}: {_gate(facts, gate)}."
            for gate in entry.get("gates", ())
            if gate["verdict"] in ("FAIL", "INCONCLUSIVE")
        ]
        remarks += [f"{clean(name)}: {clean(note, 300)}." for note in entry.get("notes", ())]
    return tuple(remarks)


def _why_none(verdict: Table, backend: object) -> str:
    """Why the fastest of a backend's candidates was not judged."""
    entries = [entry for entry in verdict.get("selection", ()) if entry.get("backend") == backend]
    if not entries:
        return ""
    fastest = min(entries, key=lambda entry: finite(entry.get("p50_ms")) or float("inf"))
    return f" The fastest, {clean(fastest['id'])}: {clean(fastest.get('reason', ''), 300)}."


def _gate(facts: ReleaseFacts, gate: Table) -> str:
    name, bound = str(gate["name"]), gate["limit"]
    what, limit = gate_name(facts, name), amount(name, bound, limit=bound)
    if gate["verdict"] == "FAIL":
        lower = amount(name, gate["lower"], limit=bound)
        return f"{what} is at least {lower}, over the limit {limit}"
    units = ("more labelled input", "more labelled inputs")
    if name == "latency":
        units = ("more round of measurement", "more rounds of measurement")
    more = finite(gate.get("more_samples"))
    plan = (
        f"{count(more, *units)} would decide it with 80 % power"
        if more is not None
        else "no number of further samples decides it while the harm lies on the limit"
    )
    low, high = (amount(name, gate[key], limit=bound) for key in ("lower", "upper"))
    return f"{what} lies between {low} and {high}, the limit is {limit}; {plan}"


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
