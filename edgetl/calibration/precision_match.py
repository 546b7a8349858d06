"""The threshold at which a variant's precision is the reference's (numpy)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def match_precision(
    candidate: Floats,
    right: Bools,
    reference_right: Bools,
    kept: Bools,
    even: float,
    z: float,
) -> tuple[float, float, float] | None:
    """The candidate's threshold with the reference's precision, and its interval.

    Precision is the share of right answers among the accepted images. On a sample it goes up and
    down with the threshold, so that many thresholds may have the same: the one nearest to `even`
    is taken, where as many images are accepted. When the data say little it stays there.

    The interval ends where the weighted score test of two precisions that share images rejects
    for the first time on the way from `even`, and holds the estimate. Source: Kosinski,
    Statistics in Medicine 32:964-977, 2013, for two tests of one disease (a precision is a
    predictive value there); here each side has its own right answers.

    Args:
        candidate: The candidate's confidences, falling, float64 [n].
        right: Whether the candidate is right, bool [n].
        reference_right: Whether the reference is right, bool [n].
        kept: Whether the reference accepts the image, bool [n].
        even: The candidate's threshold that accepts as many.
        z: The normal quantile of the interval, such as 1.96.

    Returns:
        (threshold, low, high), or None where the reference accepts nothing, or no threshold of
        the candidate is as precise. 0 and 1 as bounds say that nothing bounds it.

    Example:
        >>> confidences = np.linspace(1.0, 0.5, 100)
        >>> right = np.arange(100) % 10 != 9
        >>> threshold, low, high = match_precision(
        ...     confidences, right, right, confidences >= 0.8, 0.8, 1.96)
        >>> threshold, low < 0.8 < high
        (0.8, True)
    """
    accepted = int(kept.sum())
    if not accepted:
        return None
    # Images of one confidence are accepted together or not at all.
    counts = np.flatnonzero(np.append(candidate[:-1] > candidate[1:], True)) + 1
    excess, score = _compare(right, reference_right, kept, counts)
    start = int(np.abs(counts - accepted).argmin())
    at = _nearest_even(excess, start)
    if at is None:
        return None
    below = np.append(candidate, candidate[-1])
    if at == start and excess[at] == 0 and counts[at] == accepted:
        threshold = even
    else:
        threshold = float(below[counts[at]] + below[counts[at] - 1]) / 2
    first = _first_rejected(score < -z, start)
    low = float(candidate[counts[first] - 1]) if first < len(counts) else 0.0
    first = _first_rejected((score > z)[::-1], len(counts) - 1 - start)
    high = float(below[counts[-1 - first]]) if first < len(counts) else 1.0
    return threshold, min(low, threshold), max(high, threshold)


def _compare(
    right: Bools, reference_right: Bools, kept: Bools, counts: Integers
) -> tuple[Integers, Floats]:
    """Sign and score of precision(candidate) - precision(reference) at each number accepted."""

    def among_first(images: Bools) -> Integers:
        summed: Integers = np.cumsum(images, dtype=np.int64)[counts - 1]
        return summed

    accepted, reference_hits = int(kept.sum()), int((kept & reference_right).sum())
    hits = among_first(right)
    both_right = among_first(kept & right & reference_right)
    one_right = among_first(kept & (right ^ reference_right))
    none_right = among_first(kept & ~right & ~reference_right)
    # Whole numbers, so that equal is equal.
    excess = hits * accepted - reference_hits * counts
    p = (hits + reference_hits) / (counts + accepted)
    hit, miss = (1 - p) ** 2, p**2
    own = p * (1 - p) * (1 / counts + 1 / accepted)
    shared = (both_right * hit - one_right * p * (1 - p) + none_right * miss) / counts / accepted
    error = np.sqrt(np.maximum(own - 2 * shared, 0.0))
    score = np.zeros(len(counts))
    # Where the error vanishes the two sides accept the same images with the same answers.
    np.divide(excess / (counts * accepted), error, out=score, where=(excess != 0) & (error > 0))
    return excess, score


def _nearest_even(excess: Integers, start: int) -> int | None:
    """The nearest place where the precision is still at least the reference's."""
    if excess[start] < 0:
        better = np.flatnonzero(excess[:start] >= 0)
        return int(better[-1]) if better.size else None
    worse = np.flatnonzero(excess[start:] <= 0)
    if not worse.size:
        return len(excess) - 1
    first = start + int(worse[0])
    return first if excess[first] == 0 else first - 1


def _first_rejected(rejected: Bools, start: int) -> int:
    """Where the rejected begin: after `start`, or before it when it is rejected itself.

    The way begins where many images are accepted: a handful at the top, with one error among
    them, is rejected far too often.
    """
    if rejected[start]:
        allowed = np.flatnonzero(~rejected[:start])
        return int(allowed[-1]) + 1 if allowed.size else 0
    found = np.flatnonzero(rejected[start:])
    return start + int(found[0]) if found.size else len(rejected)
