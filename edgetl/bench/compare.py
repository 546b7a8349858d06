"""Ratios of two sides of one interleaved run, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgetl.bench.measure import Seconds
from edgetl.errors import GateError
from edgetl.stats import hodges_lehmann, log_ratio_interval, ratio_of_log

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A ratio of latencies (below 1 is faster) and its interval."""

    estimate: float
    lower: float
    upper: float

    def inverse(self) -> Ratio:
        """The same as a speed-up: how many times faster.

        Example:
            >>> Ratio(estimate=0.5, lower=0.4, upper=0.8).inverse()
            Ratio(estimate=2.0, lower=1.25, upper=2.5)
        """
        return Ratio(estimate=1 / self.estimate, lower=1 / self.upper, upper=1 / self.lower)

    def within(self, margin: float) -> bool:
        """Whether the whole interval lies within a factor 1 + margin of 1, either way."""
        return self.lower > 1 / (1 + margin) and self.upper < 1 + margin

    def outcome(self, margin: float) -> Outcome:
        """Whether the first side is slower by more than the margin, is not, or neither is shown.

        At two-sided 90 % the two answers are one-sided tests at 5 % each, as in the gate.

        Example:
            >>> Ratio(estimate=1.0, lower=0.98, upper=1.02).outcome(0.05)
            'PASS'
            >>> Ratio(estimate=1.05, lower=1.03, upper=1.07).outcome(0.05)
            'INCONCLUSIVE'
        """
        if self.upper < 1 + margin:
            return "PASS"
        return "FAIL" if self.lower > 1 + margin else "INCONCLUSIVE"


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Two sides of one run: what a latency gate is judged from.

    Attributes:
        name, against: The two sides; the ratio is name over against.
        seconds, against_seconds: float64 [rounds, calls]; rows are paired, calls are not.
        batch, threads: What both were measured at.
    """

    name: str
    against: str
    seconds: Seconds
    against_seconds: Seconds
    batch: int
    threads: int

    @property
    def rounds(self) -> int:
        """The number of paired rounds."""
        return len(self.seconds)

    def ratio(self, confidence: float = 0.95, *, quantile: float = 0.5) -> Ratio:
        """The ratio of medians, or of another quantile, two-sided at `confidence`."""
        return ratio(self.seconds, self.against_seconds, confidence, quantile=quantile)

    def log_ratios(self, *, quantile: float = 0.5) -> Seconds:
        """The log ratio of block medians (or another quantile) of each round, float64 [rounds]."""
        ours = block_quantiles(self.seconds, quantile)
        return np.log(ours) - np.log(block_quantiles(self.against_seconds, quantile))


def block_quantiles(seconds: Seconds, quantile: float) -> Seconds:
    """A quantile of each block: float64 [rounds, calls] -> [rounds].

    Between two calls it is interpolated linearly (Hyndman and Fan 1996, type 7).

    Example:
        >>> block_quantiles(np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]]), 0.75).tolist()
        [2.5, 4.0]
    """
    found: Seconds = np.quantile(seconds, quantile, axis=1)
    return found


def block_medians(seconds: Seconds) -> Seconds:
    """The median of each block: float64 [rounds, calls] -> [rounds].

    Example:
        >>> block_medians(np.array([[1.0, 2.0, 9.0], [3.0, 3.0, 3.0]])).tolist()
        [2.0, 3.0]
    """
    return block_quantiles(seconds, 0.5)


def ratio(
    seconds: Seconds, against: Seconds, confidence: float = 0.95, *, quantile: float = 0.5
) -> Ratio:
    """The ratio of two sides' medians, by Hodges and Lehmann's interval on paired log ratios.

    A round that something else held up is kept, and widens the interval by one rank, however long
    it was held up: on a machine that is shared, a t interval is five times as wide. Below the
    rounds that signed ranks need at this confidence (6 at 95 %), it is a t interval.

    Args:
        seconds, against: float64 [rounds, calls] of one interleaved run, at least two rounds.
        confidence: Of the two-sided interval.
        quantile: Of each block; the median when left out. The ratio of p90 is that of the blocks'
            p90, each side's taken from as many calls.

    Raises:
        GateError: When the two are not from the same rounds.

    Example:
        >>> slow = np.array([[2.0, 2.1], [2.2, 2.0], [1.9, 2.0]])
        >>> round(ratio(slow / 2, slow).estimate, 6)
        0.5
    """
    if seconds.ndim != 2 or against.ndim != 2 or len(seconds) != len(against) or len(seconds) < 2:
        raise GateError(
            "latency samples",
            got=f"shapes {seconds.shape} and {against.shape}",
            expected="[rounds, calls] of the same two or more rounds",
            fix="compare sides of one interleaved run",
        )
    ours, theirs = block_quantiles(seconds, quantile), block_quantiles(against, quantile)
    estimate, low, high = hodges_lehmann(np.log(ours) - np.log(theirs), confidence)
    if math.isinf(low) or math.isinf(high):
        estimate, low, high = log_ratio_interval(ours, theirs, confidence=confidence)
        return Ratio(estimate=estimate, lower=low, upper=high)
    return Ratio(estimate=ratio_of_log(estimate), lower=ratio_of_log(low), upper=ratio_of_log(high))


def precise_to(
    reference: str, half_width: float = 0.025, *, confidence: float = 0.95
) -> Callable[[Mapping[str, Seconds]], bool]:
    """A stopping rule for `interleave`: every ratio to `reference` is known closely enough.

    It looks at the width of the intervals only, never at where they lie, so stopping by it
    favours no side.

    Args:
        reference: The side that the others are compared with.
        half_width: The most that half an interval may span, of the log ratio: 0.025 is half of a
            margin of 5 %.
        confidence: Of the two-sided intervals.
    """

    def enough(samples: Mapping[str, Seconds]) -> bool:
        others = [name for name in samples if name != reference]
        intervals = [ratio(samples[name], samples[reference], confidence) for name in others]
        return all(np.log(found.upper / found.lower) / 2 <= half_width for found in intervals)

    return enough
