"""The choice of winners on the validation split, before the test split is opened.

Judging every candidate on test and shipping the fastest that passes would let a bad one through
most of the time. So candidates compete on val, and only the winners are judged on test.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from edgetl.bench.cells import Cell
from edgetl.bench.compare import Pair, ratio
from edgetl.bench.measure import Seconds
from edgetl.gate.align import align
from edgetl.gate.harms import Harm
from edgetl.gate.judge import harms_of, report_metrics
from edgetl.gate.measured import measured_harms
from edgetl.gate.policy import Policy
from edgetl.gate.predictions import Predictions
from edgetl.gate.verdict import LATENCY

SHARE_OF_MARGIN = 0.5
"""A candidate competes while each harm seen on val is within this share of its limit: one that
sits on a limit there would most likely miss it on test, and no second one is opened."""

# One-sided: the share of a normal distribution beyond one standard deviation.
_ONE_STANDARD_ERROR = 0.1587


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A candidate as it was measured before the gate.

    Attributes:
        backend: Candidates of one backend compete with each other.
        predictions: On the validation split.
        p50_ms: At the policy's objective.
        seconds: float64 [rounds, calls] of the run that all candidates were measured in; without
            it only an equal p50 counts as a tie.
        bench, cell: As `judge` takes them; with either, the policy's limits on p90, p99, size and
            memory are looked at as well.
    """

    backend: str
    predictions: Predictions
    p50_ms: float
    seconds: Seconds | None = None
    bench: Pair | None = None
    cell: Cell | None = None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One candidate's place. All figures are of the validation split.

    Attributes:
        harms: Gate name -> harm seen; what val says nothing about is absent.
        nll_upper: Upper bound of the NLL increase at the policy's alpha; breaks ties.
        metrics: As in a verdict, of the candidate.
        eligible: Whether every harm is within half of its limit, and what was measured is allowed.
        chosen: Whether it is its backend's winner.
        reason: One sentence that says why it is chosen or not.
    """

    id: str
    backend: str
    p50_ms: float
    harms: Mapping[str, float]
    nll_upper: float
    metrics: Mapping[str, float]
    eligible: bool
    chosen: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The outcome of the choice.

    Attributes:
        winners: Backend -> the winner's id; a backend that is not required, or whose candidates
            all dropped out, is absent.
        entries: Every candidate.
        alpha: What each winner is judged at on test: the policy's, divided by their number.
    """

    winners: Mapping[str, str]
    entries: tuple[Entry, ...]
    alpha: float


def select(
    candidates: Mapping[str, Candidate],
    reference: Predictions,
    policy: Policy,
    *,
    reference_p50_ms: float | None = None,
    required: Collection[str] | None = None,
) -> Selection:
    """Choose for each backend the fastest candidate that seems safe on val.

    Args:
        candidates: By variant id.
        reference: The reference's predictions on val.
        policy: Half of each limit is what a harm may come to; limits on what was measured, not
            answered, count whole.
        reference_p50_ms: The reference's latency; without it nobody drops out for being slow.
        required: The backends that get a winner; all when None. Candidates of the others are
            listed with their figures, and alpha is not shared with them.

    Returns:
        The winners, and for every candidate the reason. Latencies whose ratio to the fastest one
        has an interval (95 %) with 1 in it tie, and go to the smaller upper bound of the NLL
        increase.

    Raises:
        GateError: When predictions do not fit together, a slice of the policy is not there, or it
            states a limit that nothing was measured for.

    Example:
        >>> answers = Predictions(labels=[0, 1], probabilities=[[1.0, 0.0], [0.0, 1.0]])
        >>> entrants = {
        ...     "slow": Candidate(backend="fake", predictions=answers, p50_ms=2.0),
        ...     "fast": Candidate(backend="fake", predictions=answers, p50_ms=1.0),
        ... }
        >>> dict(select(entrants, answers, Policy()).winners)
        {'fake': 'fast'}
    """
    entrants = {
        name: _entrant(candidate, reference, policy, reference_p50_ms)
        for name, candidate in candidates.items()
    }
    winners: dict[str, str] = {}
    reasons = {name: entrant.bar for name, entrant in entrants.items() if entrant.bar}
    for backend in dict.fromkeys(candidate.backend for candidate in candidates.values()):
        if required is not None and backend not in required:
            reasons |= _not_required(backend, entrants)
            continue
        running = {
            name: entrant
            for name, entrant in entrants.items()
            if entrant.candidate.backend == backend and not entrant.bar
        }
        if running:
            winners[backend], told = _choose(running)
            reasons |= told
    entries = tuple(
        Entry(
            id=name,
            backend=entrant.candidate.backend,
            p50_ms=entrant.candidate.p50_ms,
            harms={harm.name: harm.estimate for harm in entrant.harms if not harm.unknown},
            nll_upper=entrant.nll_upper,
            metrics=entrant.metrics,
            eligible=not entrant.bar,
            chosen=winners.get(entrant.candidate.backend) == name,
            reason=reasons[name],
        )
        for name, entrant in entrants.items()
    )
    return Selection(winners=winners, entries=entries, alpha=policy.alpha / max(1, len(winners)))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Entrant:
    candidate: Candidate
    harms: tuple[Harm, ...]
    nll_upper: float
    metrics: Mapping[str, float]
    bar: str  # why it may not compete; empty when it may


def _entrant(
    candidate: Candidate,
    reference: Predictions,
    policy: Policy,
    reference_p50_ms: float | None,
) -> _Entrant:
    data = align(reference, candidate.predictions)
    harms = harms_of(data, policy)
    return _Entrant(
        candidate=candidate,
        harms=harms,
        nll_upper=next(harm.bounds(policy.alpha)[1] for harm in harms if harm.name == "nll"),
        metrics=report_metrics(data.candidate, data.labels),
        bar=_bar(candidate, harms, policy, reference_p50_ms),
    )


def _bar(
    candidate: Candidate,
    harms: tuple[Harm, ...],
    policy: Policy,
    reference_p50_ms: float | None,
) -> str:
    for harm in harms:
        if _seen(harm):
            return (
                f"{harm.name} on val is {harm.estimate:.4g}, over half of the limit {harm.limit:g}"
            )
    for harm in _measured(candidate, policy):
        if not harm.estimate <= harm.limit:
            return f"{harm.name} is {harm.estimate:.4g}, the limit {harm.limit:g}"
    if reference_p50_ms is not None:
        slower = candidate.p50_ms / reference_p50_ms
        if not slower <= policy.max_p50_ratio:
            return f"p50 is {slower:.3g} of the reference's, the limit {policy.max_p50_ratio:g}"
    return ""


def _seen(harm: Harm) -> bool:
    """Whether val shows a harm over half of its limit: a NaN is one.

    What val says nothing about, or cannot tell from nothing, is for test to judge: it bars nobody.
    """
    if harm.unknown or harm.estimate <= SHARE_OF_MARGIN * harm.limit:
        return False
    return not harm.bounds(_ONE_STANDARD_ERROR)[0] <= harm.none


def _measured(candidate: Candidate, policy: Policy) -> tuple[Harm, ...]:
    """What was measured and is limited; p50 is looked at by itself, for all that have one."""
    if candidate.bench is None and candidate.cell is None:
        return ()
    harms = measured_harms(policy, candidate.bench, candidate.cell)
    return tuple(harm for harm in harms if harm.name != LATENCY)


def _not_required(backend: str, entrants: Mapping[str, _Entrant]) -> dict[str, str]:
    return {
        name: "its backend is not required" + (f"; {entrant.bar}" if entrant.bar else "")
        for name, entrant in entrants.items()
        if entrant.candidate.backend == backend
    }


def _choose(running: Mapping[str, _Entrant]) -> tuple[str, dict[str, str]]:
    """The winner among eligible candidates of one backend, and the reason for each."""
    p50 = {name: entrant.candidate.p50_ms for name, entrant in running.items()}
    fastest = min(running, key=p50.__getitem__)
    tied = [name for name in running if _ties(running[name].candidate, running[fastest].candidate)]
    winner = min(tied, key=lambda name: (running[name].nll_upper, p50[name]))
    reasons = {
        name: f"slower: {p50[name] / p50[fastest]:.2f} × the p50 of {fastest}" for name in running
    }
    for name in tied:
        reasons[name] = f"as fast as {winner}, which has the smaller NLL bound on val"
    reasons[winner] = (
        "tied with the fastest, and has the smallest NLL bound on val"
        if len(tied) > 1
        else "the fastest whose harms on val are within half of every limit"
    )
    return winner, reasons


def _ties(candidate: Candidate, fastest: Candidate) -> bool:
    if candidate is fastest or candidate.p50_ms == fastest.p50_ms:
        return True
    if candidate.seconds is None or fastest.seconds is None:
        return False
    found = ratio(candidate.seconds, fastest.seconds)
    return found.lower <= 1.0
