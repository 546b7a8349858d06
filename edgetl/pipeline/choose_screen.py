"""How long a backbone's candidates take, interleaved with one another. No torch in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from edgetl.bench.compare import block_medians
from edgetl.bench.machine import activity, disturbances, machine_facts, shares
from edgetl.bench.measure import Block, Samples, Seconds, WarmUp, in_process, interleave
from edgetl.bench.result import BenchResult, Run, result_of
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.stages.bench import RESULT, input_batch
from edgetl.stats import quantile_bounds

_CALLS, _ROUNDS, _SECONDS = 5, 6, 10.0
_WARM_UP = WarmUp(floor_seconds=0.05, cap_seconds=1.5)


def run(context: StageContext, out: Path) -> None:
    """Measure the candidates of random weights, as shortly as an interval allows."""
    samples = interleaved(
        context,
        context.folder.stage("shape"),
        calls=_CALLS,
        rounds=_ROUNDS,
        seconds=_SECONDS,
        half_width=0.1,
        warm_up=_WARM_UP,
    )
    result_of([_run(context, samples)], machine={"warnings": []}).save(out / RESULT)


def measured(context: StageContext, files_root: Path) -> BenchResult:
    """The latency of the candidates in a folder, as long as the config's [bench] says.

    Args:
        context: The backbone's.
        files_root: Where the candidates' files are.
    """
    section = context.config.bench
    before = activity()
    samples = interleaved(
        context,
        files_root,
        calls=section.calls,
        rounds=section.rounds,
        seconds=section.max_seconds,
        half_width=0.05,
    )
    after = activity()
    facts = machine_facts() | shares(before, after)
    facts["warnings"] = disturbances(before, after, facts, settled=samples.settled)
    return result_of([_run(context, samples)], machine=facts)


def interleaved(
    context: StageContext,
    files_root: Path,
    *,
    calls: int,
    rounds: int,
    seconds: float,
    half_width: float,
    warm_up: WarmUp | None = None,
) -> Samples:
    """All candidates in one run, and one of them twice, which shows what the machine adds.

    Args:
        context: The backbone's.
        files_root: Where the candidates' files are.
        calls, rounds, seconds: As `edgetl.bench.measure.interleave` takes them.
        half_width: Stops when every median is known to this share of itself.
        warm_up: As `interleave` takes it.
    """
    inputs = input_batch(context, context.config.gate.policy.objective.batch)
    names = context.config.compile.variants
    with ExitStack() as stack:
        sides: dict[str, Block] = {}
        for name in names:
            backend = stack.enter_context(
                context.variant(context.candidate(name), files_root=files_root)
            )
            sides[name] = in_process(backend.run, inputs)
        return interleave(
            sides,
            calls=calls,
            min_rounds=rounds,
            max_seconds=seconds,
            seed=context.config.seed,
            control=names[0],
            warm_up=warm_up,
            enough=medians_known_to(half_width),
            progress=lambda done: context.reporter.progress(
                "rounds of measurement", done, max(done, rounds)
            ),
        )


def medians_known_to(half_width: float) -> Callable[[Mapping[str, Seconds]], bool]:
    """A stopping rule for `interleave`: the 95 % interval of every median is narrow enough.

    It looks at widths only and at no budget, so that stopping by it favours no side, and another
    budget is answered by the same measurement.

    Example:
        >>> known = medians_known_to(0.05)
        >>> known({"a": np.ones((6, 5))}), known({"a": np.arange(1.0, 31.0).reshape(6, 5)})
        (True, False)
    """

    def enough(samples: Mapping[str, Seconds]) -> bool:
        for seconds in samples.values():
            medians = block_medians(seconds)
            low, high = quantile_bounds(medians, 0.5, confidence=0.95)
            if not (high - low) / 2 <= half_width * float(np.median(medians)):
                return False
        return True

    return enough


def _run(context: StageContext, samples: Samples) -> Run:
    return Run(
        samples=samples,
        batch=context.config.gate.policy.objective.batch,
        threads=context.threads,
        control_of=context.config.compile.variants[0],
    )
