"""The judgement: a candidate's harms against a policy's limits."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from edgetl import metrics
from edgetl.bench.compare import Pair
from edgetl.errors import GateError
from edgetl.gate.align import Aligned, align, refuse_overlap
from edgetl.gate.harms import (
    Harm,
    brier_increase,
    flip_rate,
    latency_ratio,
    nll_increase,
    top1_drop,
)
from edgetl.gate.policy import Policy
from edgetl.gate.predictions import Predictions
from edgetl.gate.verdict import LATENCY, GateResult, Outcome, Verdict


def judge(
    reference: Predictions,
    candidate: Predictions,
    policy: Policy,
    *,
    bench: Pair | None = None,
    alpha: float | None = None,
    calibration_ids: Collection[str] | None = None,
    ptq_ids: Collection[str] | None = None,
) -> Verdict:
    """Judge a candidate against its reference on the same n inputs.

    PASS when every harm's upper bound is under its limit: the candidate passes only if all gates
    do, an intersection of tests that needs no correction. FAIL when some harm's lower bound is
    over its limit: one gate among several is enough, so Holm's correction applies. Otherwise
    INCONCLUSIVE, and every open gate says how many more samples would decide it.

    Args:
        reference: The reference's predictions.
        candidate: The candidate's, on the same inputs.
        policy: The limits.
        bench: Latency samples of candidate over reference, measured in one run at the policy's
            objective; without, the default latency gate is NOT JUDGED and decides nothing.
        alpha: In place of the policy's: its share when several winners are judged on one test.
        calibration_ids, ptq_ids: Content hashes of the inputs that temperatures and INT8 ranges
            were fitted to; none of them may be tested.

    Returns:
        The verdict with every gate.

    Raises:
        GateError: When the two do not fit together, an input was used for fitting, or the policy
            sets a latency limit and there is no measurement at its objective.

    Example:
        >>> labels = np.arange(400) % 2
        >>> sure = np.where(np.eye(2)[labels] > 0, 0.9, 0.1)
        >>> answers = Predictions(labels=labels, probabilities=sure)
        >>> judge(answers, answers, Policy()).verdict
        'PASS'
    """
    if alpha is not None and not 0 < alpha < 0.5:
        raise GateError(
            "alpha", got=str(alpha), expected="above 0 and under 0.5", fix="leave it out"
        )
    level = policy.alpha if alpha is None else alpha
    data = align(reference, candidate)
    for ids, what in ((calibration_ids, "calibration inputs"), (ptq_ids, "ptq samples")):
        refuse_overlap(reference, ids, what)
        refuse_overlap(candidate, ids, what)
    _check_bench(bench, policy)
    harms = harms_of(data, policy, bench)
    proven = shown_harms(harms, level)
    gates = tuple(_gate(harm, level, harm.name in proven) for harm in harms)
    if bench is None:
        gates += (_latency_not_judged(policy),)
    return Verdict(
        verdict=_overall(gates),
        gates=gates,
        metrics={
            "reference": report_metrics(data.reference, data.labels),
            "candidate": report_metrics(data.candidate, data.labels),
        },
        alpha=level,
        n=len(data.labels),
        notes=data.notes,
    )


def harms_of(data: Aligned, policy: Policy, bench: Pair | None = None) -> tuple[Harm, ...]:
    """The harms for which there is data, in the order of the gates."""
    three = (data.reference, data.candidate, data.labels)
    harms = (
        top1_drop(*three, policy.max_accuracy_drop),
        nll_increase(*three, policy.max_nll_increase),
        brier_increase(*three, policy.max_brier_increase),
        flip_rate(data.reference, data.candidate, policy.max_flip_rate),
    )
    return harms if bench is None else (*harms, latency_ratio(bench, policy.max_p50_ratio))


def shown_harms(harms: Sequence[Harm], alpha: float) -> frozenset[str]:
    """The harms that are shown to exceed their limits, at family-wise level alpha.

    Holm's step-down, told in bounds: a p-value is at most a when the bound at level a is over the
    limit. So the smallest p-value is compared with alpha / k while k hypotheses are left, and
    each rejection leaves one fewer. A gate's own lower bound at alpha may therefore be over its
    limit while the gate is INCONCLUSIVE.
    """
    open_harms = list(harms)
    while True:
        level = alpha / max(1, len(open_harms))
        still = [harm for harm in open_harms if not harm.bounds(level)[0] > harm.limit]
        if len(still) == len(open_harms):
            return frozenset(harm.name for harm in harms) - {harm.name for harm in still}
        open_harms = still


def report_metrics(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64]
) -> dict[str, float]:
    """The metrics that a verdict reports of one side.

    Args:
        probabilities: float64 [n, K].
        labels: int64 [n].
    """
    return {
        "top1": metrics.top1(probabilities, labels),
        "nll": metrics.nll(probabilities, labels),
        "brier": metrics.brier(probabilities, labels),
        "ece": metrics.ece(probabilities, labels),
        "mean_entropy": float(metrics.entropy(probabilities).mean()),
    }


def _gate(harm: Harm, alpha: float, shown: bool) -> GateResult:
    lower, upper = harm.bounds(alpha)
    verdict: Outcome = "INCONCLUSIVE"
    if shown:
        verdict = "FAIL"
    elif upper < harm.limit:  # NaN is not under a limit
        verdict = "PASS"
    return GateResult(
        name=harm.name,
        estimate=harm.estimate,
        lower=lower,
        upper=upper,
        limit=harm.limit,
        n=harm.n,
        verdict=verdict,
        more_samples=harm.more_samples(alpha) if verdict == "INCONCLUSIVE" else 0,
    )


def _overall(gates: Sequence[GateResult]) -> Outcome:
    outcomes = {gate.verdict for gate in gates} - {"NOT JUDGED"}
    if "FAIL" in outcomes:
        return "FAIL"
    return "PASS" if outcomes == {"PASS"} else "INCONCLUSIVE"


def _latency_not_judged(policy: Policy) -> GateResult:
    return GateResult(
        name=LATENCY,
        estimate=None,
        lower=None,
        upper=None,
        limit=policy.max_p50_ratio,
        n=0,
        verdict="NOT JUDGED",
        more_samples=None,
    )


def _check_bench(bench: Pair | None, policy: Policy) -> None:
    objective = policy.objective
    if bench is None:
        if policy.states("max_p50_ratio"):
            raise GateError(
                "policy: max_p50_ratio",
                got="a limit on latency and no measurement",
                expected="a bench result of candidate and reference",
                fix="pass the bench result, or leave max_p50_ratio out of the policy",
            )
        return
    if bench.batch != objective.batch or objective.threads not in (None, bench.threads):
        raise GateError(
            "bench result",
            got=f"batch {bench.batch} and {bench.threads} threads",
            expected=f"the policy's objective, batch {objective.batch} and "
            f"{objective.threads or 'all'} threads",
            fix="measure at the objective, or change the policy",
        )
