"""The judgement: a candidate's harms against a policy's limits."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from edgetl import metrics
from edgetl.bench.cells import Cell
from edgetl.bench.compare import Pair
from edgetl.errors import GateError
from edgetl.gate.align import Aligned, align, refuse_overlap
from edgetl.gate.harms import (
    Harm,
    brier_increase,
    confidence_gap,
    flip_rate,
    log_temperature_ratio,
    nll_increase,
    top1_drop,
)
from edgetl.gate.measured import measured_harms
from edgetl.gate.policy import Policy
from edgetl.gate.predictions import Predictions
from edgetl.gate.subgroups import slice_drops, worst_class
from edgetl.gate.verdict import LATENCY, GateOutcome, GateResult, Outcome, Verdict, counted


def judge(
    reference: Predictions,
    candidate: Predictions,
    policy: Policy,
    *,
    bench: Pair | None = None,
    cell: Cell | None = None,
    alpha: float | None = None,
    calibration_ids: Collection[str] | None = None,
    ptq_ids: Collection[str] | None = None,
    notes: Sequence[str] = (),
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
        cell: The candidate's figures in the same run: size and peak memory, where the policy
            limits them.
        alpha: In place of the policy's: its share when several winners are judged on one test.
        calibration_ids, ptq_ids: Content hashes of the inputs that temperatures and INT8 ranges
            were fitted to; none of them may be tested.
        notes: What else its reader has to know, such as what disturbed a measurement.

    Returns:
        The verdict with every gate.

    Raises:
        GateError: When the two do not fit together, an input was used for fitting, the policy
            names a slice that is not there, or states a limit that nothing was measured for.

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
    harms = (*harms_of(data, policy), *measured_harms(policy, bench, cell))
    proven = shown_harms(harms, level)
    left = sum(not harm.exact and harm.name not in proven for harm in harms)
    gates = [
        _gate(harm, level, harm.name in proven, policy, level / max(1, left)) for harm in harms
    ]
    if bench is None:
        gates.append(_not_judged(LATENCY, policy.max_p50_ratio))
    return Verdict(
        verdict=_overall(gates),
        gates=tuple(gates),
        metrics={
            "reference": report_metrics(data.reference, data.labels),
            "candidate": report_metrics(data.candidate, data.labels),
        },
        alpha=level,
        n=len(data.labels),
        notes=(*data.notes, *notes),
    )


def harms_of(data: Aligned, policy: Policy) -> tuple[Harm, ...]:
    """The harms that images decide, in the order of the gates.

    Raises:
        GateError: For a slice that the policy names and the data do not have.
    """
    three = (data.reference, data.candidate, data.labels)
    harms: tuple[Harm, ...] = (
        top1_drop(*three, policy.max_accuracy_drop),
        nll_increase(*three, policy.max_nll_increase),
        brier_increase(*three, policy.max_brier_increase),
        confidence_gap(*three, policy.max_confidence_gap),
        log_temperature_ratio(*three, policy.max_log_temperature_ratio),
        flip_rate(data.reference, data.candidate, policy.max_flip_rate),
    )
    if policy.max_worst_class_drop is not None:
        harms += (worst_class(data, policy.max_worst_class_drop),)
    return harms + slice_drops(data, policy)


def shown_harms(harms: Sequence[Harm], alpha: float) -> frozenset[str]:
    """The harms that are shown to exceed their limits, at family-wise level alpha.

    Holm's step-down, told in bounds: a p-value is at most a when the bound at level a is over the
    limit. So the smallest p-value is compared with alpha / k while k hypotheses are left, and
    each rejection leaves one fewer. A gate's own lower bound at alpha may therefore be over its
    limit while the gate is INCONCLUSIVE. A figure without an error is no test, and takes no share
    of alpha.
    """
    exact = frozenset(harm.name for harm in harms if harm.exact and not harm.estimate <= harm.limit)
    tested = [harm for harm in harms if not harm.exact]
    open_harms = list(tested)
    while True:
        level = alpha / max(1, len(open_harms))
        still = [harm for harm in open_harms if not harm.exceeds(level)]
        if len(still) == len(open_harms):
            return exact | {harm.name for harm in tested} - {harm.name for harm in still}
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


def _gate(
    harm: Harm, alpha: float, shown: bool, policy: Policy, alpha_of_fail: float
) -> GateResult:
    if harm.undefined and not policy.states("max_" + harm.name):
        return _not_judged(harm.name, harm.limit, harm.unknown)
    lower, upper = harm.bounds(alpha)
    verdict: Outcome = "INCONCLUSIVE"
    if shown:
        verdict = "FAIL"
    elif upper < harm.limit or (harm.exact and upper <= harm.limit):  # NaN is neither
        verdict = "PASS"
    return GateResult(
        name=harm.name,
        estimate=_finite(harm.estimate),
        lower=_finite(lower),
        upper=_finite(upper),
        limit=harm.limit,
        n=harm.n,
        verdict=verdict,
        more_samples=harm.more_samples(alpha, alpha_of_fail) if verdict == "INCONCLUSIVE" else 0,
        detail=_detail(harm, alpha, verdict),
    )


def _detail(harm: Harm, alpha: float, verdict: GateOutcome) -> str:
    remarks = [harm.unknown, harm.remark(alpha, verdict)]
    fewest = harm.minimum(alpha)
    if verdict == "INCONCLUSIVE" and harm.n < fewest:
        remarks.append(
            f"{harm.n} {counted(harm.name)} cannot pass this limit whatever they show: "
            f"it takes at least {fewest}"
        )
    return "; ".join(remark for remark in remarks if remark)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _overall(gates: Sequence[GateResult]) -> Outcome:
    outcomes = {gate.verdict for gate in gates} - {"NOT JUDGED"}
    if "FAIL" in outcomes:
        return "FAIL"
    return "PASS" if outcomes == {"PASS"} else "INCONCLUSIVE"


def _not_judged(name: str, limit: float, why: str = "there is no measurement") -> GateResult:
    return GateResult(
        name=name,
        estimate=None,
        lower=None,
        upper=None,
        limit=limit,
        n=0,
        verdict="NOT JUDGED",
        more_samples=None,
        detail=why,
    )
