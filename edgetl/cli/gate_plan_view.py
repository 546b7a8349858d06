"""The plan of a verdict as a person reads it: a row a gate, a column an expected discordance."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgetl.cli.console import results_screen
from edgetl.gate.plan import GatePlan, PlannedGate
from edgetl.gate.text import one_line


def show_plans(plans: Sequence[GatePlan], *, pilot: bool) -> None:
    """Print the table and what is to be known beside it.

    Args:
        plans: Of one policy and power.
        pilot: Whether they were made from predictions.
    """
    screen = results_screen()
    first = plans[0]
    screen.print(
        f"labelled inputs for {100 * first.power:.4g} % power to pass a candidate that is as good "
        f"as its reference",
        soft_wrap=True,
    )
    screen.print(_table(plans, pilot=pilot))
    if not first.complete:
        screen.print(
            "?        not planned; a verdict needs what all others need together, or more",
            soft_wrap=True,
        )
    if not pilot:
        screen.print(
            "n at D   with the share D of all inputs right by one of the two alone", soft_wrap=True
        )
    for note in dict.fromkeys(note for plan in plans for note in plan.notes):
        screen.print(Text(f"note     {one_line(note)}"))


def _table(plans: Sequence[GatePlan], *, pilot: bool) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    table.add_column("gate", overflow="fold")
    table.add_column("limit", justify="right", no_wrap=True)
    for plan in plans:
        head = "n" if pilot else f"n at {plan.discordance:.4g}"
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("remark", overflow="fold")
    for rows in zip(*(plan.gates for plan in plans), strict=True):
        gate = rows[0]
        table.add_row(
            Text(one_line(gate.name)),
            f"{gate.limit:g}",
            *(_count(row) for row in rows),
            Text(_remark(rows) or (gate.assumed if pilot else "")),
        )
    table.add_section()
    table.add_row("all together", "", *(_number(plan.n) for plan in plans), "")
    return table


def _remark(rows: Sequence[PlannedGate]) -> str:
    return next((row.note for row in rows if row.note), "")


def _count(gate: PlannedGate) -> str:
    # Without an assumption it was not planned; with one, no number of inputs is enough.
    return _number(gate.n) if gate.assumed else "?"


def _number(n: int | None) -> str:
    return "none" if n is None else str(n)
