from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from edgetl.errors import GateError
from edgetl.gate import Objective, Policy, judge
from edgetl.gate.harms import Harm
from edgetl.gate.judge import shown_harms
from edgetl.stats import tango


def test_the_reference_passes_against_itself(make, make_pair):
    answers = make(wrong=range(40))
    verdict = judge(answers, answers, Policy(), bench=make_pair(0.5))
    assert verdict.verdict == "PASS"
    assert [gate.name for gate in verdict.gates] == [
        "top1_drop",
        "nll",
        "brier",
        "confidence_gap",
        "log_temperature_ratio",
        "flips",
        "latency",
    ]
    assert {gate.verdict for gate in verdict.gates} == {"PASS"}
    assert {gate.more_samples for gate in verdict.gates} == {0}
    assert verdict.exit_code == 0


def test_a_damaged_candidate_fails_and_says_where(make):
    verdict = judge(make(), make(wrong=range(100)), Policy())
    assert verdict.verdict == "FAIL"
    assert verdict.gate("top1_drop").verdict == "FAIL"
    assert verdict.gate("top1_drop").estimate == pytest.approx(0.05)
    assert verdict.exit_code == 1


def test_bounds_are_harms_one_sided_at_alpha(make):
    verdict = judge(make(wrong=range(6)), make(wrong=range(4, 20)), Policy(), alpha=0.025)
    gate = verdict.gate("top1_drop")
    low, high = tango(4, 14, 2000, confidence=0.95)
    assert (gate.lower, gate.upper) == (-high, -low)
    assert gate.lower < gate.estimate < gate.upper
    assert verdict.alpha == 0.025


def test_too_few_images_are_inconclusive_with_the_missing_number(make):
    verdict = judge(make(200), make(200), Policy())
    assert verdict.verdict == "INCONCLUSIVE"
    assert verdict.gate("top1_drop").more_samples == 68  # 268, the structural minimum
    assert verdict.gate("flips").verdict == "PASS"
    assert verdict.more_samples == 68
    assert verdict.exit_code == 4


def test_the_further_images_decide_with_the_promised_power(make):
    # 4 flips in 400, half each way on top-1: flips decide by an exact binomial count.
    verdict = judge(make(400), make(400, wrong=range(8)), Policy(max_accuracy_drop=0.2))
    gate = verdict.gate("flips")
    assert gate.verdict == "INCONCLUSIVE"
    n = 400 + gate.more_samples
    passing = [k for k in range(n) if binom.cdf(k, n, 0.03) < 0.05]
    assert binom.cdf(max(passing), n, 0.02) >= 0.8


def test_a_harm_over_its_limit_is_planned_at_the_level_that_holm_leaves_it(make):
    # 18 flips in 400 are more than 3 %, but not shown to be with six gates that share alpha.
    verdict = judge(make(400, wrong=range(9)), make(400, wrong=range(9, 18)), Policy())
    gate = verdict.gate("flips")
    assert "FAIL" not in {gate.verdict for gate in verdict.gates}
    assert (gate.verdict, gate.estimate) == ("INCONCLUSIVE", 0.045)
    n = 400 + gate.more_samples
    failing = [k for k in range(n) if binom.sf(k - 1, n, 0.03) < 0.05 / 6]
    assert binom.sf(min(failing) - 1, n, 0.045) >= 0.8


def test_a_harm_on_its_limit_is_planned_as_no_harm(make):
    gate = judge(make(300), make(300, wrong=range(3)), Policy()).gate("top1_drop")
    assert gate.estimate == gate.limit == 0.01
    assert gate.verdict == "INCONCLUSIVE"
    assert gate.more_samples == 804 - 300  # verdict.md's table: one point at discordance 1 %


def test_latency_without_a_measurement_is_not_judged_and_decides_nothing(make):
    verdict = judge(make(), make(), Policy())
    gate = verdict.gate("latency")
    assert (gate.verdict, gate.estimate, gate.more_samples) == ("NOT JUDGED", None, None)
    assert verdict.verdict == "PASS"


def test_a_latency_limit_that_is_set_needs_a_measurement(make):
    with pytest.raises(GateError, match="max_p50_ratio"):
        judge(make(), make(), Policy(max_p50_ratio=1.0))


@pytest.mark.parametrize(
    ("ratio", "outcome"), [(0.5, "PASS"), (1.3, "FAIL"), (1.0, "INCONCLUSIVE")]
)
def test_latency_is_judged_against_the_reference(make, make_pair, ratio, outcome):
    verdict = judge(make(), make(), Policy(), bench=make_pair(ratio, seed=3))
    assert verdict.gate("latency").verdict == outcome
    assert verdict.verdict == outcome
    assert verdict.gate("latency").n == 24
    assert verdict.more_samples == 0  # images cannot decide it


def test_latency_at_another_objective_is_refused(make, make_pair):
    with pytest.raises(GateError, match="objective"):
        judge(make(), make(), Policy(objective=Objective(batch=8)), bench=make_pair())
    with pytest.raises(GateError, match="objective"):
        judge(make(), make(), Policy(objective=Objective(threads=1)), bench=make_pair())


class _Harm:
    """A harm whose p-value is known: it is shown at level a when p <= a."""

    exact = False

    def __init__(self, name: str, p: float) -> None:
        self.name, self.p = name, p

    def exceeds(self, alpha: float) -> bool:
        return self.p <= alpha


@pytest.mark.parametrize("seed", range(20))
def test_shown_harms_are_those_of_holm(seed):
    from statsmodels.stats.multitest import multipletests

    p_values = np.random.default_rng(seed).uniform(0, 0.06, 5)
    rejected = multipletests(p_values, alpha=0.05, method="holm")[0]
    harms = [_Harm(str(index), p) for index, p in enumerate(p_values)]
    assert shown_harms(harms, 0.05) == {str(i) for i in np.nonzero(rejected)[0]}  # type: ignore[arg-type]


def test_a_figure_without_an_error_takes_no_share_of_alpha():
    size = Harm(
        name="size_mb",
        limit=1.0,
        n=1,
        estimate=2.0,
        bounds=lambda _alpha: (2.0, 2.0),
        size=lambda _harm, _alpha: None,
        exact=True,
    )
    harms = [_Harm("first", 0.02), _Harm("second", 0.04), size]
    assert shown_harms(harms, 0.05) == {"first", "second", "size_mb"}  # type: ignore[arg-type]


def test_fitted_inputs_must_not_be_tested(make):
    shared = [make().ids[3]]
    with pytest.raises(GateError, match="calibration inputs"):
        judge(make(), make(), Policy(), calibration_ids=shared)
    with pytest.raises(GateError, match="ptq samples"):
        judge(make(), make(), Policy(), ptq_ids=shared)
    with pytest.raises(GateError, match="without ids"):
        judge(make(ids=None), make(ids=None), Policy(), ptq_ids=shared)
    assert judge(make(), make(), Policy(), ptq_ids=["ff"]).verdict == "PASS"


def test_without_an_error_on_either_side_there_is_no_temperature_to_compare(make):
    gate = judge(make(), make(), Policy()).gate("log_temperature_ratio")
    assert (gate.verdict, gate.estimate) == ("NOT JUDGED", None)
    assert "right on every image" in gate.detail
    stated = judge(make(), make(), Policy(max_log_temperature_ratio=0.05))
    gate = stated.gate("log_temperature_ratio")
    assert (gate.verdict, gate.upper, gate.more_samples) == ("INCONCLUSIVE", None, None)
    assert stated.verdict == "INCONCLUSIVE"


def test_an_error_on_one_side_only_leaves_the_temperature_open(make):
    gate = judge(make(), make(wrong=[3]), Policy()).gate("log_temperature_ratio")
    assert (gate.verdict, gate.lower, gate.upper) == ("INCONCLUSIVE", 0.0, None)
    assert "fits the reference, right" in gate.detail


def test_fewer_than_the_minimum_is_said_for_every_gate_that_has_one(make):
    verdict = judge(make(40), make(40), Policy())
    for name, fewest in (("top1_drop", 268), ("flips", 99)):
        gate = verdict.gate(name)
        assert (gate.verdict, gate.more_samples) == ("INCONCLUSIVE", fewest - 40)
        assert f"it takes at least {fewest}" in gate.detail


@pytest.mark.parametrize("alpha", [0.0, 0.5, -1.0, float("nan")])
def test_alpha_outside_its_range_is_refused(make, alpha):
    with pytest.raises(GateError, match="alpha"):
        judge(make(), make(), Policy(), alpha=alpha)


def test_metrics_of_both_sides_are_reported(make):
    verdict = judge(make(), make(wrong=range(20)), Policy())
    assert set(verdict.metrics["candidate"]) == {"top1", "nll", "brier", "ece", "mean_entropy"}
    assert verdict.metrics["reference"]["top1"] == 1.0
    assert verdict.metrics["candidate"]["top1"] == pytest.approx(0.99)
    assert verdict.metrics["candidate"]["ece"] == pytest.approx(0.09)
