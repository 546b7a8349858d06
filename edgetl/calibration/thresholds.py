"""Which threshold of a variant does what a threshold of the reference does (numpy and scipy)."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.calibration.precision_match import match_precision
from edgetl.errors import DataError
from edgetl.extras import extra
from edgetl.metrics import correct
from edgetl.metrics.checks import as_probabilities
from edgetl.stats.checks import check_confidence, normal_quantile

FloatArray = NDArray[np.float64]
Triple = tuple[float, float, float]

GRID = tuple(round(0.5 + step / 100, 2) for step in range(50))
"""The reference's thresholds that are transferred: 0.50, 0.51 … 0.99."""

# Fewer digits than a float32 probability can be told apart by would move a decision.
_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class KeptThresholds:
    """Thresholds of a variant, one for each of the reference's, and their intervals.

    Attributes:
        threshold: The estimates, never falling; None where no threshold is found.
        low, high: The interval of each, never falling, 0..1; None where the estimate is.
    """

    threshold: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class ThresholdTransfer:
    """What an app that acts on the reference's threshold has to use with a variant.

    Attributes:
        n: Images it was fitted on.
        confidence: Of each interval by itself, two-sided.
        reference: The reference's thresholds, rising.
        accepted: How many of the n images the reference accepts at each.
        acceptance: Thresholds that accept as many.
        precision: Thresholds above which as large a share of the answers is right.
    """

    n: int
    confidence: float
    reference: tuple[float, ...]
    accepted: tuple[int, ...]
    acceptance: KeptThresholds
    precision: KeptThresholds

    def to_json(self) -> dict[str, Any]:
        """The table as plain data, as in ``edgetl.thresholds/1``."""
        return asdict(self)


def transfer_thresholds(
    reference: ArrayLike,
    candidate: ArrayLike,
    labels: ArrayLike,
    *,
    grid: tuple[float, ...] = GRID,
    confidence: float = 0.95,
) -> ThresholdTransfer:
    """The candidate's thresholds that do what the reference's do, with intervals.

    A classifier accepts an image when the probability of its most probable class is at least the
    threshold. For each threshold of the reference the candidate has two counterparts:

    - *acceptance*: as many images are accepted. The two sorted lists of confidences are read
      against each other, with lines between (equipercentile equating: Kolen and Brennan, Test
      Equating, 2014, chapter 2). The interval holds every threshold at which the exact McNemar
      test of "accepted by one side only" does not reject at 1 - confidence: it is exact for any
      n, and the pairing makes it narrow.
    - *precision*: among the accepted, as large a share is right; see `match_precision`.

    Both sets of confidences have to be about the same images. Equal sets give equal thresholds.

    Args:
        reference: Probabilities [n, K].
        candidate: Probabilities [n, K] of the same images.
        labels: Integers [n].
        grid: Thresholds of the reference, rising, each between 0 and 1.
        confidence: Of each interval, two-sided.

    Raises:
        DataError: When the arrays are not such, the two sides do not fit together, or the grid
            or the confidence is not as above.

    Example:
        >>> random = np.random.default_rng(0)
        >>> top = random.uniform(0.5, 1.0, 400)
        >>> reference = np.stack([top, 1 - top], axis=1)
        >>> labels = (random.uniform(size=400) > top).astype(int)
        >>> sharper = reference**2 / (reference**2).sum(axis=1, keepdims=True)
        >>> table = transfer_thresholds(reference, sharper, labels, grid=(0.8,))
        >>> round(0.8**2 / (0.8**2 + 0.2**2), 2), round(table.acceptance.threshold[0], 2)
        (0.94, 0.94)
    """
    check_confidence(confidence)
    _check_grid(grid)
    ours, theirs = as_probabilities(reference, "reference"), as_probabilities(candidate)
    if ours.shape != theirs.shape:
        raise DataError(
            "candidate",
            got=f"probabilities {list(theirs.shape)}",
            expected=f"{list(ours.shape)}, as the reference's",
            fix="let both sides answer the same images",
        )
    order = np.argsort(-theirs.max(axis=1), kind="stable")
    confidences = theirs.max(axis=1)[order]
    reference_confidences = ours.max(axis=1)[order]
    right, reference_right = correct(theirs, labels)[order], correct(ours, labels)[order]
    falling = np.sort(reference_confidences)[::-1]
    z = normal_quantile(0.5 + confidence / 2)
    rates: list[Triple | None] = []
    precisions: list[Triple | None] = []
    for threshold in grid:
        kept = reference_confidences >= threshold
        even = _same_place(threshold, falling, confidences)
        rates.append((even, *_rate_interval(kept, confidences, 1 - confidence)))
        precisions.append(match_precision(confidences, right, reference_right, kept, even, z))
    return ThresholdTransfer(
        n=len(confidences),
        confidence=confidence,
        reference=tuple(grid),
        accepted=tuple(int((falling >= threshold).sum()) for threshold in grid),
        acceptance=_never_falling(rates),
        precision=_never_falling(precisions),
    )


def _check_grid(grid: tuple[float, ...]) -> None:
    # Written so that a NaN is refused.
    inside = all(0 < threshold < 1 for threshold in grid)
    if not grid or not inside or any(low >= high for low, high in pairwise(grid)):
        raise DataError(
            "grid",
            got=str(grid)[:80],
            expected="rising thresholds, each between 0 and 1",
            fix="pass for instance (0.5, 0.8, 0.9)",
        )


def _same_place(threshold: float, reference: FloatArray, candidate: FloatArray) -> float:
    """Where the threshold lies between two of the reference's confidences, among the candidate's.

    Both arrays fall. Nothing is above 1 or below 0, so the ends of the lists are these.
    """
    accepted = int((reference >= threshold).sum())
    above, below = (
        [float(np.r_[1.0, side, 0.0][accepted + step]) for side in (reference, candidate)]
        for step in (0, 1)
    )
    share = (threshold - below[0]) / (above[0] - below[0])
    return below[1] + share * (above[1] - below[1])


def _rate_interval(
    kept: NDArray[np.bool_], candidate: FloatArray, alpha: float
) -> tuple[float, float]:
    """Every threshold whose acceptance rate the exact McNemar test does not tell from the kept's.

    Args:
        kept: Whether the reference accepts the image, in the order of `candidate`.
        candidate: Confidences, falling.
        alpha: Of the test, two-sided.
    """
    with extra("gate"):
        from scipy.special import bdtr

    n, accepted = len(candidate), int(kept.sum())
    both = np.r_[0, np.cumsum(kept)]

    def rejected(count: int) -> bool:
        shared = int(both[count])
        fewer, either = min(count, accepted) - shared, count + accepted - 2 * shared
        # The same p-value as stats.mcnemar's, which is too slow to be asked thousands of times.
        return either > 0 and 2 * float(bdtr(fewer, either, 0.5)) <= alpha

    # The p-value only falls on the way from equal counts, so that its crossing is searched.
    most = accepted + bisect_left(range(accepted, n + 1), True, key=rejected) - 1
    least = accepted - bisect_left(range(accepted, -1, -1), True, key=rejected) + 1
    low = float(candidate[most]) if most < n else 0.0
    high = float(candidate[least - 1]) if least > 0 else 1.0
    return low, high


def _never_falling(rows: list[Triple | None]) -> KeptThresholds:
    """Estimates and bounds that rise with the reference's threshold.

    Estimates by isotonic regression; bounds outwards, so that an interval only grows.
    """
    with extra("gate"):
        from scipy.optimize import isotonic_regression

    found = [row for row in rows if row is not None]
    if not found:
        nothing = (None,) * len(rows)
        return KeptThresholds(threshold=nothing, low=nothing, high=nothing)
    estimates, low, high = np.array(found).T
    columns = (
        _rounded(np.asarray(isotonic_regression(estimates).x), np.minimum),
        _rounded(np.minimum.accumulate(low[::-1])[::-1], np.minimum),
        _rounded(np.maximum.accumulate(high), np.maximum),
    )
    filled = [iter(column.tolist()) for column in columns]
    threshold, lows, highs = (
        tuple(None if row is None else float(next(column)) for row in rows) for column in filled
    )
    return KeptThresholds(threshold=threshold, low=lows, high=highs)


def _rounded(column: FloatArray, outer: np.ufunc) -> FloatArray:
    """Rounded where that moves a number outwards, or not at all.

    A threshold may be a confidence that many images tie at: above it, none of them is accepted.
    """
    rounded: FloatArray = outer(np.round(column, _DIGITS), column)
    return rounded
