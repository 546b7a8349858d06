"""What may be said of a candidate without labels: docs/unlabelled.md has the proof.

Where two classifiers give the same answer, both are right or both are wrong. So their accuracies
differ by no more than the share of answers that differ, and what their confidences and answers do
alike, their calibration does alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import GateError
from edgetl.gate.align import matching_rows, same_classes
from edgetl.gate.policy import Policy
from edgetl.gate.predictions import Predictions
from edgetl.gate.verdict import EXIT_CODES, Outcome
from edgetl.stats import clopper_pearson, rate_sample_size
from edgetl.stats.bounded_mean import mean_bound_sample_size, mean_upper_bound

FLIPS = "flips"
ACCURACY = "accuracy_change"
CALIBRATION = "calibration_distance"

_NEED_LABELS = ("nll", "brier", "log_temperature_ratio")
_WHEN_STATED = {
    "max_worst_class_drop": "worst_class",
    "max_slice_drop": "slices",
    "max_p50_ratio": "latency",
    "max_p90_ratio": "p90_ratio",
    "max_p99_ms": "p99_ms",
    "max_size_mb": "size_mb",
    "max_memory_mb": "memory_mb",
}


@dataclass(frozen=True, kw_only=True)
class CertifiedGate:
    """One certified change against its limit.

    Attributes:
        name: ``flips``, ``accuracy_change`` or ``calibration_distance``.
        estimate: What was seen; of the latter two, what was seen of the sum that bounds them.
        lower, upper: One-sided bounds at 1 − alpha. Without labels no change of accuracy or
            calibration can be shown, so that these two have the lower bound 0.
        limit: The policy's.
        verdict: FAIL for flips only.
        more_samples: How many further unlabelled images would decide it with 80 % power; 0 when
            it is decided; None when no number would.
    """

    name: str
    estimate: float
    lower: float
    upper: float
    limit: float
    verdict: Outcome
    more_samples: int | None


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What n unlabelled images certify of one candidate.

    Attributes:
        flips: How many answers differ.
        confidence_change: Mean |confidence of the candidate − that of the reference|.
        confidence_change_upper: Its upper bound at 1 − alpha.
        gates: The certified changes.
        alpha: One-sided level of every bound.
        notes: What was done to make the two fit.
    """

    verdict: Outcome
    n: int
    flips: int
    confidence_change: float
    confidence_change_upper: float
    gates: tuple[CertifiedGate, ...]
    alpha: float
    notes: tuple[str, ...] = ()

    @property
    def more_samples(self) -> int | None:
        """How many further unlabelled images would decide every gate; None when none would."""
        wanted = [gate.more_samples for gate in self.gates]
        return None if None in wanted else max(more for more in wanted if more is not None)

    @property
    def exit_code(self) -> int:
        """0 PASS, 1 FAIL, 4 INCONCLUSIVE."""
        return EXIT_CODES[self.verdict]


def not_certified(policy: Policy) -> tuple[str, ...]:
    """The gates of a policy that answers without labels, and without a measurement, say nothing of.

    Example:
        >>> not_certified(Policy(max_p99_ms=20.0))
        ('nll', 'brier', 'log_temperature_ratio', 'p99_ms')
    """
    stated = (gate for limit, gate in _WHEN_STATED.items() if policy.states(limit))
    return (*_NEED_LABELS, *stated)


def certify(
    reference: Predictions, candidate: Predictions, policy: Policy, *, alpha: float | None = None
) -> Certificate:
    """Certify a candidate on unlabelled images that both answered.

    PASS when every certified bound is under its limit, FAIL when the flips' lower bound is over
    `max_flip_rate`, else INCONCLUSIVE. Labels, where there are any, are not looked at.

    - flips: their rate with Clopper and Pearson's interval, against `max_flip_rate`;
    - accuracy: |Δaccuracy| ≤ flip rate, against `max_accuracy_drop`;
    - calibration: distance(candidate) ≤ distance(reference) + mean |Δconfidence| + flip rate, the
      distance from calibration of Błasiok et al., arXiv 2211.16886. The sum is bounded by
      `mean_upper_bound` and held against `max_confidence_gap`, for it also bounds how far the mean
      of confidence − correct can move.

    Args:
        reference: The reference's predictions.
        candidate: The candidate's, on the same inputs; matched by id and class name.
        policy: The limits.
        alpha: In place of the policy's.

    Raises:
        GateError: When the two do not fit together, or there is only one image.

    Example:
        >>> sure = np.tile([0.9, 0.1], (2000, 1))
        >>> ids = [str(index) for index in range(2000)]
        >>> answers = Predictions(probabilities=sure, ids=ids)
        >>> certify(answers, answers, Policy()).verdict
        'PASS'
    """
    level = policy.alpha if alpha is None else alpha
    ours, theirs, notes = _aligned(reference, candidate)
    flipped = ours.argmax(axis=1) != theirs.argmax(axis=1)
    moved = np.abs(ours.max(axis=1) - theirs.max(axis=1))
    gates = (
        *_flip_gates(int(flipped.sum()), len(flipped), policy, level),
        _calibration_gate(moved + flipped, policy.max_confidence_gap, level),
    )
    return Certificate(
        verdict=_overall(gates),
        n=len(flipped),
        flips=int(flipped.sum()),
        confidence_change=float(moved.mean()),
        confidence_change_upper=mean_upper_bound(moved, level),
        gates=gates,
        alpha=level,
        notes=notes,
    )


def _flip_gates(
    count: int, n: int, policy: Policy, alpha: float
) -> tuple[CertifiedGate, CertifiedGate]:
    rate = count / n
    lower, upper = clopper_pearson(count, n, confidence=1 - 2 * alpha)

    def gate(name: str, floor: float, limit: float) -> CertifiedGate:
        return _gate(
            name,
            (rate, floor, upper),
            limit,
            n,
            lambda: (
                rate_sample_size(rate, limit, alpha=alpha)
                if name == FLIPS or rate < limit
                else None
            ),
        )

    return gate(FLIPS, lower, policy.max_flip_rate), gate(ACCURACY, 0.0, policy.max_accuracy_drop)


def _calibration_gate(moved: NDArray[np.float64], limit: float, alpha: float) -> CertifiedGate:
    upper = mean_upper_bound(moved, alpha, largest=2.0)
    return _gate(
        CALIBRATION,
        (float(moved.mean()), 0.0, upper),
        limit,
        len(moved),
        lambda: mean_bound_sample_size(moved, limit, alpha=alpha, largest=2.0),
    )


def _gate(
    name: str,
    figures: tuple[float, float, float],
    limit: float,
    n: int,
    size: Callable[[], int | None],
) -> CertifiedGate:
    estimate, lower, upper = figures
    verdict: Outcome = "INCONCLUSIVE"
    if lower > limit:
        verdict = "FAIL"
    elif upper < limit:  # NaN is not under a limit
        verdict = "PASS"
    more: int | None = 0
    if verdict == "INCONCLUSIVE":
        total = size()
        more = None if total is None else max(1, total - n)
    return CertifiedGate(
        name=name,
        estimate=estimate,
        lower=lower,
        upper=upper,
        limit=limit,
        verdict=verdict,
        more_samples=more,
    )


def _overall(gates: Sequence[CertifiedGate]) -> Outcome:
    outcomes = {gate.verdict for gate in gates}
    if "FAIL" in outcomes:
        return "FAIL"
    return "PASS" if outcomes == {"PASS"} else "INCONCLUSIVE"


def _aligned(
    reference: Predictions, candidate: Predictions
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[str, ...]]:
    """Both sides' probabilities, row by row of the same input and column by column of one class."""
    notes: list[str] = []
    probabilities, labels = same_classes(reference, candidate, notes)
    if reference.n != candidate.n:
        raise _misfit(f"{candidate.n} inputs", f"the {reference.n} inputs of the reference")
    if reference.n < 2:
        raise _misfit("1 inputs", "at least two", "predict more inputs")
    if reference.ids is not None and candidate.ids is not None:
        rows = matching_rows(reference.ids, candidate.ids)
        if rows is not None:
            probabilities = probabilities[rows]
            notes.append("the candidate's inputs were reordered by id")
    elif reference.labels is None or labels is None or (reference.labels != labels).any():
        raise _misfit(
            "no ids on both sides, and no labels that agree",
            "evidence that both are about the same inputs",
            "store ids (content hashes) with both predictions",
        )
    if reference.labels is not None or labels is not None:
        notes.append("the labels were not looked at")
    return reference.probabilities, probabilities, tuple(notes)


def _misfit(
    got: str, expected: str, fix: str = "predict the same data with reference and candidate"
) -> GateError:
    return GateError("predictions without labels", got=got, expected=expected, fix=fix)
