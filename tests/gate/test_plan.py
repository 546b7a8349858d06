from __future__ import annotations

import numpy as np
import pytest

from edgetl.errors import DataError, GateError
from edgetl.gate import Policy, Predictions, judge
from edgetl.gate.plan import least_margin, plan_from_pilot, plan_gates
from edgetl.stats import structural_minimum, tango_power
from tests.stats.helpers.published import SAMPLE_SIZES


def needed(plan, name="top1_drop"):
    return next(gate for gate in plan.gates if gate.name == name)


@pytest.mark.parametrize(("margin", "discordance"), SAMPLE_SIZES)
def test_the_published_sizes(margin, discordance):
    policy = Policy(max_accuracy_drop=margin)
    plans = [plan_gates(policy, discordance=discordance, power=power) for power in (0.8, 0.9)]
    assert tuple(needed(plan).n for plan in plans) == SAMPLE_SIZES[margin, discordance]


def test_what_a_class_of_45_cannot_show():
    assert round(100 * least_margin(45), 1) == 5.7
    # The same bound, solved for n.
    assert (
        structural_minimum(least_margin(45) + 1e-9)
        <= 45
        < structural_minimum(least_margin(45) - 1e-4)
    )
    plan = plan_gates(Policy(max_accuracy_drop=0.02), discordance=0.001, classes=3)
    each = plan.n // 3
    assert any(f"give {each} of a class" in note for note in plan.notes)
    assert any(f"under {100 * least_margin(each):.1f} points" in note for note in plan.notes)


def test_what_only_a_pilot_can_plan_is_said():
    plan = plan_gates(Policy(max_worst_class_drop=0.1, max_slice_drop=0.1), discordance=0.01)
    assert not plan.complete
    unplanned = {gate.name for gate in plan.gates if gate.n is None}
    assert unplanned == {
        *("nll", "brier", "confidence_gap", "log_temperature_ratio", "worst_class", "slices")
    }
    assert "--classes" in needed(plan, "worst_class").note


def test_flips_expected_over_their_limit_make_a_plan_impossible():
    plan = plan_gates(Policy(), discordance=0.05)
    assert needed(plan).n == 3133 and needed(plan, "flips").n is None and plan.n is None
    assert "not under the limit" in needed(plan, "flips").note


def test_every_class_has_to_pass():
    policy = Policy(max_worst_class_drop=0.1)
    plan = plan_gates(policy, discordance=0.01, classes=10)
    n = needed(plan, "worst_class").n
    assert tango_power(n // 10, 0.0, 0.01, 0.1) ** 10 >= 0.8
    assert needed(plan_gates(policy, discordance=0.01, classes=100), "worst_class").n > 10 * n


def test_all_gates_together_need_more_than_each():
    """Gates at 80 % power each would pass together less often; the plan is for all of them."""
    reference, candidate = draws(np.random.default_rng(3), 600)
    plan = plan_from_pilot(reference, candidate, Policy())
    sizes = [gate.n for gate in plan.gates]
    assert plan.complete and None not in sizes
    assert plan.n >= max(sizes)
    assert plan_from_pilot(reference, candidate, Policy(), power=0.95).n > plan.n


def draws(random, n, k=4):
    """A reference and a candidate that is as good: noise of the same kind on the same inputs."""
    labels = random.integers(0, k, n)
    scores = random.normal(0, 1, (n, k)) + 3 * np.eye(k)[labels]
    sides = (scores + random.normal(0, 0.15, (n, k)) for _ in range(2))
    return tuple(
        Predictions(logits=side, labels=labels, ids=[str(index) for index in range(n)])
        for side in sides
    )


def test_equal_candidates_pass_as_often_as_planned():
    random = np.random.default_rng(5)
    policy = Policy()
    plan = plan_from_pilot(*draws(random, 20_000), policy, power=0.8)
    outcomes = [judge(*draws(random, plan.n), policy).verdict for _ in range(60)]
    # Fewer than 40 of 60 come in one of 200 runs where the power is 0.8.
    assert outcomes.count("PASS") >= 40
    assert plan.n < 20_000


def test_a_pilot_knows_classes_and_slices():
    random = np.random.default_rng(7)
    reference, candidate = draws(random, 2000)
    camera = np.where(np.arange(2000) < 200, "rare", "usual")
    reference = Predictions(
        logits=reference.logits,
        labels=reference.labels,
        ids=reference.ids,
        slices={"camera": camera},
    )
    policy = Policy(max_worst_class_drop=0.1, max_slice_drop=0.1)
    plan = plan_from_pilot(reference, candidate, policy)
    names = [gate.name for gate in plan.gates]
    assert names[-3:] == ["worst_class", "slice:camera=rare", "slice:camera=usual"]
    rare, usual = plan.gates[-2:]
    assert rare.n == pytest.approx(9 * usual.n, rel=0.1)


def test_a_pilot_without_an_error_has_no_temperature_to_plan_for(make):
    plan = plan_from_pilot(make(500), make(500), Policy())
    assert not plan.complete
    assert "no finite temperature" in needed(plan, "log_temperature_ratio").note


def test_measurements_are_not_planned_in_images():
    notes = plan_gates(Policy(max_p99_ms=20.0), discordance=0.01).notes
    assert any("at least 299 calls" in note for note in notes)
    assert any("rounds of measurement" in note for note in notes)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"discordance": 0.0}, DataError),
        ({"discordance": float("nan")}, DataError),
        ({"discordance": 0.01, "power": 1.0}, DataError),
        ({"discordance": 0.01, "power": float("nan")}, DataError),
        ({"discordance": 0.01, "classes": 1}, GateError),
    ],
)
def test_other_expectations_are_refused(values, error):
    with pytest.raises(error):
        plan_gates(Policy(), **values)


def test_a_pilot_needs_labels(make):
    with pytest.raises(GateError, match="labels"):
        plan_from_pilot(make(300, labels=None), make(300, labels=None), Policy())
