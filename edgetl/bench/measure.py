"""Latency of several sides measured side by side. Knows no models: a side is a timed block.

On a shared machine one side after the other is wrong by a quarter when the truth is nothing, so
every round runs a block of each side, in random order, and sides are compared round by round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import GateError
from edgetl.spec import Array

Seconds = NDArray[np.float64]
Block = Callable[[int], Seconds]
"""Runs so many calls and returns the seconds of each, float64 [calls]."""

CONTROL = "control"
MIN_CALLS = 5
MIN_ROUNDS = 4

_SETTLED_WITHIN = 1.02
_SETTLED_BLOCKS = 3
# Asking costs more the more rounds there are: from 50 on, not after every one.
_ASKED_EVERY = 50


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """How long each side is warmed: until three block medians agree within 2 %.

    Attributes:
        floor_seconds: At least so long, agreement or not: clocks and caches need time to move.
        cap_seconds: At most so long; a side that has not settled by then is recorded as such.
    """

    floor_seconds: float = 0.2
    cap_seconds: float = 3.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """What one interleaved run measured; nothing is deleted from it.

    Attributes:
        seconds: Per side, float64 [rounds, calls]; row r of every side is from the same round.
        settled: Per side, whether its warm-up ended in agreement.
        asked_rounds, asked_calls: What was asked for; the shape says what the time allowed.
        elapsed_seconds: The whole run, warm-up included.
    """

    seconds: Mapping[str, Seconds]
    settled: Mapping[str, bool]
    asked_rounds: int
    asked_calls: int
    elapsed_seconds: float

    def __getitem__(self, side: str) -> Seconds:
        return self.seconds[side]

    def __iter__(self) -> Iterator[str]:
        return iter(self.seconds)

    @property
    def rounds(self) -> int:
        """The rounds that were run."""
        return len(next(iter(self.seconds.values())))

    @property
    def calls(self) -> int:
        """The calls kept in each block."""
        return int(next(iter(self.seconds.values())).shape[1])


def in_process(
    run: Callable[[Mapping[str, Array]], object],
    inputs: Mapping[str, Array],
    *,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> Block:
    """A block that calls `run(inputs)` in this process and times each call.

    Example:
        >>> block = in_process(lambda inputs: None, {})
        >>> block(3).shape
        (3,)
    """

    def block(calls: int) -> Seconds:
        seconds = np.empty(calls)
        for index in range(calls):
            start = clock_ns()
            run(inputs)
            seconds[index] = (clock_ns() - start) * 1e-9
        return seconds

    return block


def interleave(
    sides: Mapping[str, Block],
    *,
    calls: int = 40,
    min_rounds: int = 24,
    max_seconds: float = 120.0,
    seed: int = 0,
    settle: int = 5,
    control: str | None = None,
    warm_up: WarmUp | None = None,
    enough: Callable[[Mapping[str, Seconds]], bool] | None = None,
    progress: Callable[[int], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Samples:
    """Measure sides in rounds: in each, one block per side, in random order.

    Args:
        sides: A block per side.
        calls: Calls kept per block. Fewer (at least 5) when `min_rounds` rounds would not fit
            into `max_seconds`: rounds carry the interval, so they are kept and calls give way.
        min_rounds: Rounds that are run whatever `enough` says.
        max_seconds: The budget, warm-up included. When it is spent, the run ends after the round
            at hand, though not before four rounds: fewer give no interval.
        seed: Of the order within rounds.
        settle: Calls at the head of each block that are run and not kept: after another side the
            caches are cold, and the threads of its runtime may still be spinning.
        control: A side whose block is run a second time in every round under the name
            ``control``. The two are the same thing, so their ratio shows what the machine adds.
        warm_up: How each side is warmed.
        enough: Asked after every round from `min_rounds` on, from 50 rounds on less often; False
            asks for another round.
            Left out, `min_rounds` are run. `edgetl.bench.compare.precise_to` makes one.
        progress: Told the number of rounds done, after each.
        clock: Seconds; only the budget is measured with it.

    Raises:
        GateError: For no sides, an unknown control, counts that are not positive, or a block that
            does not answer with positive seconds.

    Example:
        >>> def block(calls):
        ...     return np.full(calls, 0.001)
        >>> interleave({"a": block, "b": block}, calls=5, min_rounds=4)["b"].shape
        (4, 5)
    """
    _check(sides, control, calls=calls, min_rounds=min_rounds, max_seconds=max_seconds)
    start = clock()
    blocks = dict(sides) | ({CONTROL: sides[control]} if control is not None else {})
    settled, typical = _warm(sides, warm_up or WarmUp(), calls)
    if control is not None:
        # The same block: what warmed one has warmed the other.
        settled[CONTROL], typical[CONTROL] = settled[control], typical[control]
    left = max_seconds - (clock() - start)
    kept = _calls_that_fit(calls, settle, left / min_rounds, sum(typical.values()))
    random = np.random.default_rng(seed)
    names = list(blocks)
    rows: dict[str, list[Seconds]] = {name: [] for name in names}
    done, asked = 0, min_rounds
    while True:
        for position in random.permutation(len(names)):
            name = names[position]
            rows[name].append(_timed(blocks[name], name, settle + kept)[settle:])
        done += 1
        if progress is not None:
            progress(done)
        if done >= MIN_ROUNDS and clock() - start >= max_seconds:
            break
        if done >= asked and (enough is None or enough(_stacked(rows))):
            break
        if done >= asked:
            asked = done + max(1, done // _ASKED_EVERY)
    return Samples(
        seconds=_stacked(rows),
        settled=settled,
        asked_rounds=min_rounds,
        asked_calls=calls,
        elapsed_seconds=clock() - start,
    )


def warm(block: Block, warm_up: WarmUp | None = None) -> tuple[bool, float]:
    """Warm one side; whether it settled, and the median seconds of its last calls.

    Example:
        >>> warm(lambda calls: np.full(calls, 0.1))
        (True, 0.1)
    """
    settled, typical = _warm({"": block}, warm_up or WarmUp(), MIN_CALLS)
    return settled[""], typical[""]


def _warm(
    blocks: Mapping[str, Block], warm_up: WarmUp, calls: int
) -> tuple[dict[str, bool], dict[str, float]]:
    """Warm every side; whether each settled, and the seconds of its typical call."""
    medians: dict[str, list[float]] = {name: [] for name in blocks}
    spent = dict.fromkeys(blocks, 0.0)
    settled = dict.fromkeys(blocks, False)
    waiting = list(blocks)
    while waiting:
        for name in tuple(waiting):
            # The first block is short: nothing is known yet of how long a call takes.
            size = min(calls, MIN_CALLS if medians[name] else 1)
            seconds = _timed(blocks[name], name, size)
            medians[name].append(float(np.median(seconds)))
            spent[name] += float(seconds.sum())
            last = medians[name][-_SETTLED_BLOCKS:]
            agree = len(last) == _SETTLED_BLOCKS and max(last) <= _SETTLED_WITHIN * min(last)
            settled[name] = agree and spent[name] >= warm_up.floor_seconds
            if settled[name] or spent[name] >= warm_up.cap_seconds:
                waiting.remove(name)
    return settled, {name: values[-1] for name, values in medians.items()}


def _calls_that_fit(calls: int, settle: int, round_seconds: float, call_seconds: float) -> int:
    fitting = int(round_seconds / call_seconds) - settle
    return max(min(calls, fitting), min(calls, MIN_CALLS))


def _timed(block: Block, name: str, calls: int) -> Seconds:
    seconds = np.asarray(block(calls), dtype=np.float64)
    # A NaN compares as False, so it is refused here too.
    if seconds.shape != (calls,) or not (seconds > 0).all() or not np.isfinite(seconds).all():
        raise GateError(
            f"side '{name}'",
            got=f"times of shape {seconds.shape}, the least {seconds.min(initial=np.inf):g} s",
            expected=f"{calls} positive times",
            fix="return the seconds of every call from the block",
        )
    return seconds


def _stacked(rows: Mapping[str, list[Seconds]]) -> dict[str, Seconds]:
    return {name: np.stack(blocks) for name, blocks in rows.items()}


def _check(
    sides: Mapping[str, Block],
    control: str | None,
    *,
    calls: int,
    min_rounds: int,
    max_seconds: float,
) -> None:
    if not sides or CONTROL in sides or (control is not None and control not in sides):
        raise GateError(
            "sides to measure",
            got=f"{', '.join(sides) or 'none'}; control of {control}",
            expected=f"at least one, none called '{CONTROL}', and a control of one of them",
            fix="name the sides, and the one that is measured twice",
        )
    if calls < 1 or min_rounds < 1 or not max_seconds > 0:
        raise GateError(
            "length of the measurement",
            got=f"calls {calls}, rounds {min_rounds}, {max_seconds} s",
            expected="positive numbers",
            fix="leave them out for 40 calls, 24 rounds and two minutes",
        )
