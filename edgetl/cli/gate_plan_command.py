"""`edgetl gate plan`: how many labelled images a verdict needs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgetl.cli.arguments import check_outputs, write_result
from edgetl.errors import UsageError
from edgetl.extras import extra

if TYPE_CHECKING:
    from edgetl.gate import Policy
    from edgetl.gate.plan import GatePlan

SCHEMA = "edgetl.gate-plan/1"

_DISCORDANCES = (0.005, 0.01, 0.02)
_MOST = 5


def gate_plan_command(options: argparse.Namespace) -> int:
    """Print what each gate needs, and all of them together; 0."""
    inputs = [*(options.predictions or ()), options.policy]
    check_outputs(options, "json", inputs=inputs)
    _check(options)
    with extra("gate"):
        import edgetl.gate.plan  # noqa: F401
    policy = _policy(options)
    plans = _plans(options, policy)
    write_result(options, plan_json(policy, plans, pilot=options.predictions is not None))
    if not options.quiet and str(options.json) != "-":
        with extra("gate"):
            from edgetl.cli.gate_plan_view import show_plans
        show_plans(plans, pilot=options.predictions is not None)
    return 0


def plan_json(policy: Policy, plans: Sequence[GatePlan], *, pilot: bool) -> dict[str, Any]:
    """The document `edgetl.gate-plan/1`, docs/schemas/gate-plan-1.json."""
    from dataclasses import asdict

    return {
        "schema": SCHEMA,
        "basis": "pilot" if pilot else "expected",
        "policy": policy.to_json(),
        "power": plans[0].power,
        "plans": [
            {
                "discordance": plan.discordance,
                "n": plan.n,
                "complete": plan.complete,
                "gates": [asdict(gate) for gate in plan.gates],
                "notes": list(plan.notes),
            }
            for plan in plans
        ],
    }


def _plans(options: argparse.Namespace, policy: Policy) -> list[GatePlan]:
    from edgetl.cli.gate_command import load_predictions
    from edgetl.gate.plan import plan_from_pilot, plan_gates

    if options.predictions is not None:
        reference, candidate = load_predictions(options)
        return [plan_from_pilot(reference, candidate, policy, power=options.power)]
    return [
        plan_gates(policy, discordance=one, classes=options.classes, power=options.power)
        for one in dict.fromkeys(options.discordance or _DISCORDANCES)
    ]


def _policy(options: argparse.Namespace) -> Policy:
    from dataclasses import replace

    from edgetl.cli.gate_command import load_policy_of

    changes = {
        name: value
        for name, value in (
            ("max_accuracy_drop", options.margin),
            ("max_worst_class_drop", options.class_margin),
        )
        if value is not None
    }
    return replace(load_policy_of(options), **changes)


def _check(options: argparse.Namespace) -> None:
    given = [name for name in ("discordance", "classes") if getattr(options, name) is not None]
    if options.predictions is not None and given:
        raise UsageError(
            f"edgetl gate plan --{given[0]}",
            got="given beside --predictions",
            expected="what is expected, or a pilot that shows it",
            fix=f"leave --{given[0]} out",
        )
    if len(options.discordance or ()) > _MOST:
        raise UsageError(
            "edgetl gate plan --discordance",
            got=f"{len(options.discordance)} of them",
            expected=f"at most {_MOST}, a column each",
            fix="plan in several calls",
        )
