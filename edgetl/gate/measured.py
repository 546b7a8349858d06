"""The harms that measurements decide: latency, size and memory."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from edgetl.bench.cells import Cell
from edgetl.bench.compare import Pair
from edgetl.errors import GateError
from edgetl.gate.harms import Harm
from edgetl.gate.policy import Policy
from edgetl.gate.verdict import LATENCY, MEMORY, P90, P99, SIZE
from edgetl.stats import (
    paired_t_sample_size,
    quantile_bounds,
    quantile_minimum,
    rate_sample_size,
)

_NEEDS = {
    "max_p50_ratio": "latency samples of candidate and reference",
    "max_p90_ratio": "latency samples of candidate and reference",
    "max_p99_ms": "latency samples of the candidate",
    "max_size_mb": "the size of the candidate's files",
    "max_memory_mb": "the peak memory of the candidate",
}


def measured_harms(policy: Policy, bench: Pair | None, cell: Cell | None) -> tuple[Harm, ...]:
    """The harms that there are measurements for, in the order of the gates.

    Args:
        policy: The limits.
        bench: Latency samples of candidate over reference.
        cell: The candidate's figures: size and memory.

    Raises:
        GateError: For a limit that the policy states and nothing was measured for, or a
            measurement at another objective.
    """
    _check_objective(bench, policy)
    _check_objective(cell, policy)
    size_mb = None if cell is None else cell.size_mb
    memory_mb = None if cell is None else cell.peak_rss_mb
    data = (bench, bench, bench, size_mb, memory_mb)
    for name, found in zip(_NEEDS, data, strict=True):
        if found is None and policy.states(name):
            _refuse_missing(name)
    harms: list[Harm] = []
    if bench is not None:
        harms.append(latency_ratio(bench, policy.max_p50_ratio))
        if policy.max_p90_ratio is not None:
            harms.append(latency_ratio(bench, policy.max_p90_ratio, name=P90, quantile=0.9))
        if policy.max_p99_ms is not None:
            harms.append(p99(bench, policy.max_p99_ms))
    for name, value, limit in (
        (SIZE, size_mb, policy.max_size_mb),
        (MEMORY, memory_mb, policy.max_memory_mb),
    ):
        if value is not None and limit is not None:
            harms.append(figure(name, value, limit))
    return tuple(harms)


def latency_ratio(pair: Pair, limit: float, *, name: str = LATENCY, quantile: float = 0.5) -> Harm:
    """A quantile of the candidate's latency over the reference's, from the ratio of each round."""
    found = pair.ratio(quantile=quantile)
    # The interval knows better than a standard deviation what one held-up round is worth.
    width = math.log(found.upper) - math.log(found.lower)
    spread = width * math.sqrt(pair.rounds) / (2 * NormalDist().inv_cdf(0.975))

    def bounds(alpha: float) -> tuple[float, float]:
        at = pair.ratio(1 - 2 * alpha, quantile=quantile)
        return at.lower, at.upper

    def size(harm: float, alpha: float) -> int | None:
        return paired_t_sample_size(math.log(harm), spread, math.log(limit), alpha=alpha)

    return Harm(
        name=name,
        limit=limit,
        n=pair.rounds,
        estimate=found.estimate,
        none=1.0,
        bounds=bounds,
        size=size,
    )


def p99(pair: Pair, limit: float) -> Harm:
    """The candidate's 99th percentile in milliseconds, by order statistics of all its calls."""
    milliseconds = pair.seconds.reshape(-1) * 1e3

    def bounds(alpha: float) -> tuple[float, float]:
        return quantile_bounds(milliseconds, 0.99, confidence=1 - 2 * alpha)

    def size(harm: float, alpha: float) -> int | None:
        # The bound is under the limit where the share of calls that are not is under 1 %.
        slow = float((milliseconds >= limit).mean()) if harm else 0.0
        return rate_sample_size(slow, 0.01, alpha=alpha)

    def minimum(alpha: float) -> int:
        return quantile_minimum(0.99, confidence=1 - alpha)

    return Harm(
        name=P99,
        limit=limit,
        n=milliseconds.size,
        estimate=float(np.percentile(milliseconds, 99)),
        bounds=bounds,
        size=size,
        minimum=minimum,
    )


def figure(name: str, value: float, limit: float) -> Harm:
    """A figure without an error: it is its own bounds."""
    return Harm(
        name=name,
        limit=limit,
        n=1,
        estimate=value,
        bounds=lambda _alpha: (value, value),
        size=lambda _harm, _alpha: None,
        exact=True,
    )


def _refuse_missing(name: str) -> None:
    raise GateError(
        f"policy: {name}",
        got="a limit and no measurement for it",
        expected=_NEEDS[name],
        fix=f"pass the bench result, or leave {name} out of the policy",
    )


def _check_objective(found: Pair | Cell | None, policy: Policy) -> None:
    objective = policy.objective
    if found is None:
        return
    if found.batch != objective.batch or objective.threads not in (None, found.threads):
        raise GateError(
            "bench result",
            got=f"batch {found.batch} and {found.threads} threads",
            expected=f"the policy's objective, batch {objective.batch} and "
            f"{objective.threads or 'all'} threads",
            fix="measure at the objective, or change the policy",
        )
