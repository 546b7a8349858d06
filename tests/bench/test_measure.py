from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgetl.bench.measure import MIN_CALLS, WarmUp, in_process, interleave, warm
from edgetl.errors import GateError


class FakeMachine:
    """A clock that only blocks move, and a diary of who ran how many calls."""

    def __init__(self) -> None:
        self.now = 0.0
        self.diary: list[tuple[str, int]] = []

    def clock(self) -> float:
        return self.now

    def block(
        self, name: str, seconds: Callable[[int], float] | float
    ) -> Callable[[int], np.ndarray]:
        state = {"calls": 0}

        def block(calls: int) -> np.ndarray:
            self.diary.append((name, calls))
            times = np.empty(calls)
            for index in range(calls):
                times[index] = seconds(state["calls"]) if callable(seconds) else seconds
                state["calls"] += 1
            self.now += times.sum()
            return times

        return block

    def measured(self, calls: int) -> list[str]:
        return [name for name, count in self.diary if count == calls]


def test_every_round_has_each_side_once_in_random_order():
    machine = FakeMachine()
    sides = {name: machine.block(name, 0.001) for name in "abc"}
    samples = interleave(sides, clock=machine.clock, seed=1)
    assert (samples.rounds, samples.calls) == (24, 40)
    assert samples["b"].shape == (24, 40)
    order = machine.measured(45)
    rounds = ["".join(order[start : start + 3]) for start in range(0, len(order), 3)]
    assert len(rounds) == 24
    assert {"".join(sorted(one)) for one in rounds} == {"abc"}
    assert len(set(rounds)) > 3
    again = FakeMachine()
    interleave({name: again.block(name, 0.001) for name in "abc"}, clock=again.clock, seed=1)
    assert again.diary == machine.diary


def test_cold_calls_at_the_head_of_a_block_are_not_kept():
    def cold(calls: int) -> np.ndarray:
        return np.where(np.arange(calls) < 3, 0.5, 0.001)

    warm_up = WarmUp(floor_seconds=0, cap_seconds=0)
    samples = interleave({"a": cold}, settle=3, min_rounds=4, max_seconds=1e9, warm_up=warm_up)
    assert (samples["a"] == 0.001).all()
    kept = interleave({"a": cold}, settle=0, min_rounds=4, max_seconds=1e9, warm_up=warm_up)
    assert (kept["a"] == 0.5).sum() == 12  # nothing else is ever deleted


def test_warm_up_ends_when_three_medians_agree():
    machine = FakeMachine()
    falling = machine.block("a", lambda call: 0.001 * (1 + 9 * 0.8**call))
    samples = interleave({"a": falling}, clock=machine.clock, warm_up=WarmUp(floor_seconds=0))
    assert samples.settled == {"a": True}
    assert samples["a"].max() < 1.02 * samples["a"].min()


def test_a_side_that_never_settles_is_said_and_the_cap_ends_it():
    machine = FakeMachine()
    restless = machine.block("a", lambda call: 0.001 * (1 + call // MIN_CALLS % 3))
    samples = interleave(
        {"a": restless, "b": machine.block("b", 0.001)},
        clock=machine.clock,
        warm_up=WarmUp(floor_seconds=0.1, cap_seconds=0.5),
    )
    assert samples.settled == {"a": False, "b": True}
    warming = [(name, calls) for name, calls in machine.diary if calls <= MIN_CALLS]
    assert 0.1 / 0.001 <= sum(calls for name, calls in warming if name == "b") < 0.12 / 0.001


def test_slow_sides_get_fewer_calls_before_fewer_rounds():
    machine = FakeMachine()
    sides = {"slow": machine.block("slow", 0.1), "fast": machine.block("fast", 0.01)}
    warm_up = WarmUp(floor_seconds=0, cap_seconds=1)
    samples = interleave(sides, max_seconds=60, clock=machine.clock, warm_up=warm_up)
    assert samples.rounds == 24
    assert MIN_CALLS < samples.calls < 40
    assert (samples.asked_rounds, samples.asked_calls) == (24, 40)
    assert samples.elapsed_seconds <= 61


def test_a_spent_budget_ends_the_run_but_not_before_four_rounds():
    machine = FakeMachine()
    sides = {"a": machine.block("a", 1.0)}
    samples = interleave(sides, max_seconds=1.0, clock=machine.clock)
    assert (samples.rounds, samples.calls) == (4, MIN_CALLS)


def test_rounds_go_on_until_it_is_enough():
    machine = FakeMachine()
    seen = []

    def enough(samples):
        seen.append(len(samples["a"]))
        return len(samples["a"]) == 30

    done: list[int] = []
    samples = interleave(
        {"a": machine.block("a", 0.001)}, clock=machine.clock, enough=enough, progress=done.append
    )
    assert samples.rounds == 30
    assert seen == list(range(24, 31))
    assert done == list(range(1, 31))


def test_many_rounds_are_asked_about_less_often():
    machine = FakeMachine()
    seen = []

    def enough(samples):
        seen.append(len(samples["a"]))
        return len(samples["a"]) > 400

    interleave({"a": machine.block("a", 0.001)}, clock=machine.clock, enough=enough)
    assert seen[:77] == list(range(24, 101))
    assert max(np.diff(seen)) == 8
    assert len(seen) < 190


def test_one_side_is_warmed_alone():
    assert warm(lambda calls: np.full(calls, 0.25)) == (True, 0.25)
    settled, seconds = warm(lambda calls: np.random.default_rng(calls).random(calls) + 0.1)
    assert seconds > 0.1
    assert settled in (True, False)


def test_the_control_is_the_same_block_again():
    machine = FakeMachine()
    sides = {"reference": machine.block("reference", 0.001), "x": machine.block("x", 0.002)}
    samples = interleave(sides, control="reference", clock=machine.clock, min_rounds=5)
    assert list(samples) == ["reference", "x", "control"]
    assert machine.measured(45).count("reference") == 10
    assert np.array_equal(samples["control"], samples["reference"])


@pytest.mark.parametrize(
    "times",
    [
        lambda calls: np.zeros(calls),
        lambda calls: np.full(calls, np.nan),
        lambda calls: np.full(calls, np.inf),
        lambda calls: np.full(calls, -1.0),
        lambda calls: np.ones(calls + 1),
        lambda calls: np.ones((calls, 1)),
    ],
)
def test_times_that_are_none_are_refused(times):
    with pytest.raises(GateError, match="side 'a'"):
        interleave({"a": times})


@pytest.mark.parametrize(
    "arguments",
    [
        {"sides": {}},
        {"sides": {"control": lambda calls: np.ones(calls)}},
        {"sides": {"a": lambda calls: np.ones(calls)}, "control": "b"},
        {"sides": {"a": lambda calls: np.ones(calls)}, "calls": 0},
        {"sides": {"a": lambda calls: np.ones(calls)}, "min_rounds": 0},
        {"sides": {"a": lambda calls: np.ones(calls)}, "max_seconds": float("nan")},
    ],
)
def test_what_cannot_be_measured_is_refused(arguments):
    with pytest.raises(GateError):
        interleave(**arguments)


def test_in_process_times_each_call():
    ticks = iter(range(0, 10**9, 1000))
    seen = []
    block = in_process(seen.append, {"x": np.ones(1)}, clock_ns=lambda: next(ticks))
    assert block(3) == pytest.approx([1e-6, 1e-6, 1e-6])
    assert len(seen) == 3
