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
    "latency": "p50 against PyTorch",
}
LIMITS = {
    "max_accuracy_drop": "top1_drop",
    "max_nll_increase": "nll",
    "max_brier_increase": "brier",
    "max_flip_rate": "flips",
    "max_p50_ratio": "latency",
}


def amount(gate: str, value: object, *, sign: bool = False) -> str:
    """A harm in its gate's unit.

    Example:
        >>> amount("top1_drop", 0.01), amount("nll", 0.02), amount("latency", 1.0)
        ('1.00 pt', '0.0200 nats', '1.00×')
    """
    if finite(value) is None:
        return DASH
    if gate in ("top1_drop", "flips"):
        assert isinstance(value, int | float)
        unit = "pt" if gate == "top1_drop" else "%"
        return f"{number(100 * value, 2, sign=sign)} {unit}"
    if gate == "latency":
        return times(value)
    return f"{number(value, 4, sign=sign)}{' nats' if gate == 'nll' else ''}"


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
        limits=tuple(
            (GATES[gate], f"≤ {amount(gate, policy[key])}")
            for key, gate in LIMITS.items()
            if key in policy
        ),
        scope=f"{clean(verdict['data'].get('name', 'stored predictions'))} · {facts.scope()}",
        policy=_policy(facts, policy),
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
            "a limit of harm, so nothing ships."
        )
    verb = "does" if facts.n == 1 else "do"
    return (
        f"{inputs} {verb} not decide whether every harm is within its limit; undecided is not a "
        f"pass, so nothing ships. {_plan(facts)}"
    )


def _plan(facts: ReleaseFacts) -> str:
    """How many more inputs would decide every undecided gate that inputs decide."""
    wanted = [
        finite(gate.get("more_samples"))
        for entry in facts.judged.values()
        for gate in entry.get("gates", ())
        if gate["verdict"] == "INCONCLUSIVE" and gate["name"] != "latency"
    ]
    known = [more for more in wanted if more is not None]
    if not known or len(known) < len(wanted):
        return ""
    return f"{count(max(known), 'more labelled input')} would, with 80 % power for each limit."


def _listed(names: Sequence[str]) -> str:
    shown = [clean(name) for name in names] or ["the judged variant"]
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " and " + shown[-1]


def _remarks(facts: ReleaseFacts) -> tuple[str, ...]:
    """Each gate that did not pass, and each required backend without a variant."""
    verdict = facts.data.verdict
    backends = {str(entry.get("backend")) for entry in facts.judged.values()}
    remarks = [
        f"{clean(name)}: no candidate was left to judge."
        for name in verdict.get("required", ())
        if name not in backends
    ]
    for name, entry in facts.judged.items():
        remarks += [
            f"{clean(name)}: {_gate(gate)}."
            for gate in entry.get("gates", ())
            if gate["verdict"] in ("FAIL", "INCONCLUSIVE")
        ]
        remarks += [f"{clean(name)}: {clean(note, 300)}." for note in entry.get("notes", ())]
    return tuple(remarks)


def _gate(gate: Table) -> str:
    name = str(gate["name"])
    what, limit = GATES.get(name, clean(name)), amount(name, gate["limit"])
    if gate["verdict"] == "FAIL":
        return f"{what} is at least {amount(name, gate['lower'])}, over the limit {limit}"
    units = ("more labelled input", "more labelled inputs")
    if name == "latency":
        units = ("more round of measurement", "more rounds of measurement")
    more = finite(gate.get("more_samples"))
    plan = (
        f"{count(more, *units)} would decide it with 80 % power"
        if more is not None
        else "no number of further samples decides it while the harm lies on the limit"
    )
    low, high = amount(name, gate["lower"]), amount(name, gate["upper"])
    return f"{what} lies between {low} and {high}, the limit is {limit}; {plan}"


def _shipped(facts: ReleaseFacts, name: str) -> Shipped:
    figures = [
        _speed(facts.faster(name, REFERENCE), "the speed of PyTorch"),
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
    if alpha is None:
        return ""
    text = f"Every bound is one-sided at {100 * (1 - (one or alpha)):g} %"
    if one is not None and one < alpha:
        text += f": α = {alpha:g} shared by {len(facts.judged)} judged variants"
    return text + "."
