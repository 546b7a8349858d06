"""What was not decided, why, and what would decide it; and what the policy never asked."""

from __future__ import annotations

from edgetl.report.blocks import Block, Cell, Grid, Note, Section
from edgetl.report.documents import Table
from edgetl.report.facts import ReleaseFacts
from edgetl.report.gates import GATES, LIMITS, amount, decided_by, gate_name
from edgetl.report.numbers import clean, finite, listed

_NAMES = {"slice": "each slice: top-1 lost"}
_OPEN = ("INCONCLUSIVE", "NOT JUDGED")


def section(facts: ReleaseFacts) -> Section | None:
    """The open gates, then what has no limit; None when nothing was judged or all was decided."""
    if not facts.judged:
        return None
    opened = [
        (name, gate)
        for name, entry in facts.judged.items()
        for gate in entry.get("gates", ())
        if gate["verdict"] in _OPEN
    ]
    blocks: list[Block] = []
    if opened:
        blocks.append(_grid(facts, opened))
    if unasked := _unasked(facts):
        blocks.append(
            Note(text=f"The policy sets no limit for {unasked}: nothing is said about these.")
        )
    if not blocks:
        return None
    return Section(
        id="undecided",
        title="What was not decided",
        read=(
            "An open gate is no sign of harm and no proof against it: the data do not reach. "
            "The last column says what would."
            if opened
            else "Every gate of the policy was decided."
        ),
        blocks=tuple(blocks),
    )


def why_open(gate: Table) -> str:
    """Why a gate was not decided, in words."""
    name, limit = str(gate["name"]), gate.get("limit")
    if gate["verdict"] == "NOT JUDGED":
        return clean(gate.get("detail") or "there is no measurement", 200)
    low, high = finite(gate.get("lower")), finite(gate.get("upper"))
    bound = amount(name, limit, limit=limit)
    if high is None:
        return clean(
            gate.get("detail") or f"nothing bounds it from above; the limit is {bound}", 200
        )
    upper = amount(name, high, limit=limit)
    if low is not None and finite(limit) is not None and low > float(gate["limit"]):
        lower = amount(name, low, limit=limit)
        return (
            f"at least {lower} on its own, over the limit {bound}, but not with several gates "
            "allowed for"
        )
    return f"it may be as high as {upper}, and the limit is {bound}"


def _why(gate: Table) -> str:
    words, detail = why_open(gate), clean(gate.get("detail") or "", 200)
    return f"{words}; {detail}" if detail and detail != words else words


def _grid(facts: ReleaseFacts, opened: list[tuple[str, Table]]) -> Grid:
    return Grid(
        head=("gate", "variant", "seen", "why it is open", "what would decide it"),
        rows=tuple(
            (
                Cell(text=gate_name(facts, gate["name"])),
                Cell(text=clean(name)),
                Cell(text=amount(str(gate["name"]), gate.get("estimate"), limit=gate.get("limit"))),
                Cell(text=_why(gate)),
                Cell(text="a measurement" if gate["verdict"] == "NOT JUDGED" else decided_by(gate)),
            )
            for name, gate in opened
        ),
        numeric=frozenset({2}),
        title="Open gates",
        caption="Numbers of samples are for the harm that was seen, with 80 % power for each gate.",
        scope=facts.scope(),
        style="stacked",
    )


def _unasked(facts: ReleaseFacts) -> str:
    policy = facts.data.verdict["policy"]
    names = [
        _NAMES.get(gate) or GATES[gate]
        for key, gate in LIMITS.items()
        if key in policy and policy[key] is None
    ]
    return listed(names)
