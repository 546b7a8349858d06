"""The power of a gate on a mean, by drawing from the differences that were seen.

Where one image in a hundred carries nearly all of the spread, as where answers flip, the skewness
of a sample is a matter of chance, and so is how far `mean_bounds` corrects for it. No formula from
the moments tells the power then; drawing samples does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.extras import extra
from edgetl.stats.checks import as_sample, check_finite, check_open_unit, check_total
from edgetl.stats.mean import corrected_t

# Groups of neighbouring values that stand for each of theirs.
_GROUPS = 200


class ResampledPower:
    """The power of a gate on a mean whose values are as those seen: call it with n.

    n values are drawn with replacement, many times, with a fixed seed: equal inputs give equal
    answers, with a standard error of at most 0.5 / sqrt(draws). Drawn is how often each of at
    most 200 groups of neighbouring values comes up, so that a call takes as long for any n.

    Args:
        values: Candidate minus reference, floating point [n], n >= 2.
        margin: The increase that is allowed, in the same unit.
        alpha: One-sided level.
        mean: The true mean to plan for: the values are moved there. Their own when left out.
        both: Whether a decrease is a harm, too: then PASS takes both bounds within the margin.
        draws: Samples, 1 or more.

    Raises:
        DataError: For NaN or infinity, fewer than two values, or an alpha outside 0..1, or
            no draws.

    Example:
        >>> power = ResampledPower([-0.1, 0.1] * 50, 0.02, mean=0.0)
        >>> power(50) < 0.5 < 0.8 < power(200)
        True
    """

    def __init__(
        self,
        values: ArrayLike,
        margin: float,
        alpha: float = 0.05,
        *,
        mean: float | None = None,
        both: bool = False,
        draws: int = 1000,
    ) -> None:
        sample = np.sort(as_sample(values, "values"))
        check_finite("margin", margin)
        check_open_unit("alpha", alpha, "pass 0.05")
        check_total("draws", 1, draws)
        self._draws = draws
        self._mean = float(sample.mean()) if mean is None else mean
        check_finite("mean", self._mean)
        centred = sample - sample.mean()
        # Without a unit the cubes of very small or large values would leave float64's range.
        self._unit = float(np.abs(centred).max()) or 1.0
        self._shares, self._powers = _grouped(centred / self._unit)
        self._margin, self._alpha, self._both = margin, alpha, both

    def __call__(self, n: int) -> float:
        """The probability that n images decide: PASS up to the margin, FAIL above it.

        Raises:
            DataError: For n below 2.
        """
        check_total("images", 2, n)
        counts = np.random.default_rng(0).multinomial(n, self._shares, self._draws)
        first, second, third = (counts @ self._powers).T / n
        variance = np.maximum(second - first**2, 0.0)
        drawn = counts > 0
        nearest, values = drawn.argmax(axis=1), self._powers[:, 0]
        last = values.size - 1 - drawn[:, ::-1].argmax(axis=1)
        samples = _Drawn(
            n=n,
            mean=first,
            # What rounding leaves of equal values is no spread.
            variance=np.where(variance > 1e-13, variance, 0.0),
            cubes=third - 3 * first * second + 2 * first**3,
            farthest=np.maximum(values[last] - first, first - values[nearest]),
        )
        margin = (self._margin - self._mean) / self._unit
        if margin < 0:
            return float(samples.mirrored().under(-margin, self._alpha).mean())
        passed = samples.under(margin, self._alpha)
        if self._both:
            passed &= samples.mirrored().under(
                (self._margin + self._mean) / self._unit, self._alpha
            )
        return float(passed.mean())


@dataclass(frozen=True, kw_only=True, eq=False)
class _Drawn:
    """Central moments of many samples of n values, and how far their farthest is."""

    n: int
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    cubes: NDArray[np.float64]
    farthest: NDArray[np.float64]

    def mirrored(self) -> _Drawn:
        return replace(self, mean=-self.mean, cubes=-self.cubes)

    def under(self, limit: float, alpha: float) -> NDArray[np.bool_]:
        """Whether the upper bound of each sample's mean is under the limit; see `mean_bounds`."""
        with extra("gate"):
            from scipy.special import stdtrit

        n, size = self.n + 1, self.n
        far = self.farthest
        mean = self.mean + far / n
        variance = (size * self.variance + far**2 * size / n) / size
        cubes = size * self.cubes + far**3 * size * (size - 1) / n**2
        cubes -= 3 * far * size * self.variance / n
        spread = np.sqrt(np.where(self.variance > 0, variance, 1.0))
        k = cubes / spread**3 * n / ((n - 1) * (n - 2)) / math.sqrt(n)
        t = np.clip((mean - limit) / spread * math.sqrt(n), -1e9, 1e9)
        passed = corrected_t(t, k) < stdtrit(n - 1, alpha)
        own = np.sqrt(np.where(self.variance > 0, self.variance, 1.0) / (size - 1))
        passed &= self.mean - limit < own * stdtrit(size - 1, alpha)
        found: NDArray[np.bool_] = np.where(self.variance > 0, passed, self.mean < limit)
        return found


def _grouped(ordered: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The share of each group, and the means of its values, squares and cubes: [groups, 3]."""
    size = ordered.size
    far = np.abs(ordered)
    # A group has its share of the values, or of their squares or cubes, whichever is more: so the
    # few that carry the spread and the skewness are hardly grouped at all.
    weights = sum(far**power / max((far**power).sum(), 1e-300) for power in range(4))
    ends = np.cumsum(weights)
    starts = np.unique(np.searchsorted(ends, np.linspace(0.0, ends[-1], _GROUPS, endpoint=False)))
    lengths = np.diff(np.append(starts, size))
    powers = np.stack([ordered, ordered**2, ordered**3], axis=1)
    return lengths / size, np.add.reduceat(powers, starts, axis=0) / lengths[:, None]
