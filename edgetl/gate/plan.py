"""How many labelled images a verdict needs, before there is one.

Planned for is a candidate that is truly as good as its reference: each gate has a probability to
pass on n images, and n is what gives all of them together the power that is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgetl.errors import GateError
from edgetl.gate.align import align
from edgetl.gate.plan_needs import (
    Need,
    drop,
    flip_rate,
    means,
    slice_needs,
    temperature,
    worst_class,
)
from edgetl.gate.policy import Policy
from edgetl.gate.predictions import Predictions
from edgetl.metrics import flips, paired_counts
from edgetl.stats import quantile_minimum
from edgetl.stats.checks import check_open_unit, normal_quantile
from edgetl.stats.search import crossing

NEEDS_PILOT = "needs a pilot (--predictions)"
"""Said of a gate that only predictions can plan."""
NO_TEMPERATURE = "the pilot has no finite temperature: one with wrong answers has"
"""Said of the ratio of temperatures."""


@dataclass(frozen=True, kw_only=True)
class PlannedGate:
    """What one gate needs.

    Attributes:
        name: As in a verdict.
        limit: The policy's.
        n: Labelled images in all with which it passes with the wanted power; None when no number
            does, or it cannot be planned.
        assumed: What was assumed, in words; empty when it cannot be planned.
        note: Why there is no n; else empty.
    """

    name: str
    limit: float
    n: int | None
    assumed: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class GatePlan:
    """What all gates of a policy need.

    Attributes:
        power: The wanted probability to pass, of a candidate that is as good as its reference.
        alpha: One-sided level of every bound.
        discordance: The share of images that exactly one of the two gets right.
        gates: Those that images decide.
        n: Labelled images with which all planned gates pass together with at least that power,
            whatever they have to do with one another: the sum of their chances to miss is at most
            1 − power (Boole's inequality). None when no number does.
        complete: Whether every gate was planned; where not, a verdict needs n or more.
        notes: What else is good to know.
    """

    power: float
    alpha: float
    discordance: float
    gates: tuple[PlannedGate, ...]
    n: int | None
    complete: bool
    notes: tuple[str, ...]


def plan_gates(
    policy: Policy, *, discordance: float, classes: int | None = None, power: float = 0.8
) -> GatePlan:
    """Plan from what is expected.

    Without predictions nothing is known of how NLL, Brier score, confidence and temperature
    scatter: their gates are listed as not planned.

    Args:
        policy: The limits.
        discordance: The expected share of images that exactly one of the two gets right, 0..1;
            as many answers are expected to flip.
        classes: How many classes there are, for the gate on the worst; each is taken to have as
            many images.
        power: The probability to pass that is wanted.

    Raises:
        DataError: For a discordance or power outside 0..1.
        GateError: For fewer than two classes.

    Example:
        >>> plan = plan_gates(Policy(max_accuracy_drop=0.02), discordance=0.03)
        >>> plan.gates[0].name, plan.gates[0].n
        ('top1_drop', 540)
    """
    check_open_unit("discordance", discordance, "pass 0.03 for 3 %")
    check_open_unit("power", power, "pass 0.8")
    if classes is not None and classes < 2:
        raise GateError(
            "plan",
            got=f"{classes} classes",
            expected="at least two",
            fix="plan for a classifier of several classes",
        )
    needs = [drop(policy, discordance), flip_rate(policy, discordance)]
    open_gates = [
        _unplanned(name, limit, NEEDS_PILOT)
        for name, limit in (
            ("nll", policy.max_nll_increase),
            ("brier", policy.max_brier_increase),
            ("confidence_gap", policy.max_confidence_gap),
            ("log_temperature_ratio", policy.max_log_temperature_ratio),
        )
    ]
    if (margin := policy.max_worst_class_drop) is not None:
        if classes is None:
            open_gates.append(_unplanned("worst_class", margin, "needs --classes K"))
        else:
            told = f"{classes} classes alike"
            needs.append(worst_class(policy, discordance, {1 / classes: classes}, told))
    if policy.max_slice_drop is not None:
        open_gates.append(_unplanned("slices", policy.max_slice_drop, NEEDS_PILOT))
    planned = _planned(policy, discordance, needs, open_gates, power)
    return replace(planned, notes=tuple(_remarks(policy, planned.n, classes)))


def plan_from_pilot(
    reference: Predictions, candidate: Predictions, policy: Policy, *, power: float = 0.8
) -> GatePlan:
    """Plan from labelled predictions of a few images, or of an earlier release.

    Their discordance, flip rate, spreads and shares of classes and slices are taken as they are;
    what the two truly differ by is taken to be nothing.

    Args:
        reference: The reference's predictions.
        candidate: The candidate's, on the same inputs.
        policy: The limits.
        power: The probability to pass that is wanted.

    Raises:
        GateError: When the two do not fit together, or have no labels.
        DataError: For a power outside 0..1.

    Example:
        >>> labels = np.arange(300) % 3
        >>> sure = np.where(np.eye(3)[labels] > 0, 0.8, 0.1)
        >>> answers = Predictions(labels=labels, probabilities=sure)
        >>> plan_from_pilot(answers, answers, Policy()).n
        268
    """
    check_open_unit("power", power, "pass 0.8")
    data = align(reference, candidate)
    n = len(data.labels)
    _, b, c, _ = paired_counts(data.reference, data.candidate, data.labels)
    discordance = (b + c) / n
    needs = [
        drop(policy, discordance),
        *means(data, policy),
        flip_rate(policy, flips(data.reference, data.candidate) / n),
    ]
    open_gates = []
    if (ratio := temperature(data, policy)) is not None:
        needs.insert(-1, ratio)
    else:
        limit = policy.max_log_temperature_ratio
        open_gates.append(_unplanned("log_temperature_ratio", limit, NO_TEMPERATURE))
    if policy.max_worst_class_drop is not None:
        counts = np.bincount(data.labels, minlength=reference.k)
        shares = Counter(int(count) / n for count in counts if count)
        told = f"the rarest class is {min(shares):.2g} of all"
        needs.append(worst_class(policy, discordance, shares, told))
    needs += slice_needs(data, policy, discordance)
    planned = _planned(policy, discordance, needs, open_gates, power)
    notes = (f"pilot of {n} inputs", *data.notes, *_remarks(policy, planned.n, None))
    return replace(planned, notes=notes)


def _planned(
    policy: Policy,
    discordance: float,
    needs: Sequence[Need],
    open_gates: Sequence[PlannedGate],
    power: float,
) -> GatePlan:
    gates = tuple(_sized(need, power) for need in needs)
    reachable = all(gate.n is not None for gate in gates)

    def together(n: int) -> bool:
        return sum(1 - need.power(n) for need in needs) <= 1 - power

    return GatePlan(
        power=power,
        alpha=policy.alpha,
        discordance=discordance,
        gates=(*gates, *open_gates),
        n=crossing(together) if reachable else None,
        complete=not open_gates,
        notes=(),
    )


def _sized(need: Need, power: float) -> PlannedGate:
    size = None if need.hopeless else crossing(lambda n: need.power(n) >= power)
    return PlannedGate(
        name=need.name,
        limit=need.limit,
        n=size,
        assumed=need.assumed,
        note=need.hopeless or ("" if size is not None else "more than 10,000,000 images"),
    )


def _unplanned(name: str, limit: float, note: str) -> PlannedGate:
    return PlannedGate(name=name, limit=limit, n=None, assumed="", note=note)


def _remarks(policy: Policy, n: int | None, classes: int | None) -> Iterator[str]:
    if classes is not None and n is not None:
        each = n // classes
        yield (
            f"{n} images give {each} of a class: no drop of a class under "
            f"{100 * least_margin(each, policy.alpha):.1f} points can be shown with them"
        )
    if policy.max_p99_ms is not None:
        calls = quantile_minimum(0.99, 1 - policy.alpha)
        yield f"p99_ms takes at least {calls} calls, whatever the images"
    yield "latency is decided by rounds of measurement, not by images"


def least_margin(n: int, alpha: float = 0.05) -> float:
    """The smallest drop of accuracy that n images can rule out, even without one flip.

    Tango's bound at no discordant image is z² / (n + z²).

    Example:
        >>> print(f"{100 * least_margin(45):.1f} points")
        5.7 points
    """
    z = normal_quantile(1 - alpha)
    return z * z / (n + z * z)
