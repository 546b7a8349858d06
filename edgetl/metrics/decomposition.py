"""What the Brier score is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from edgetl.metrics.bins import Scheme, bin_of
from edgetl.metrics.checks import BoolArray, FloatArray
from edgetl.metrics.rows import class_columns


@dataclass(frozen=True, kw_only=True)
class BrierDecomposition:
    """The Brier score in parts, each summed over the classes as `edgetl.metrics.brier` is.

    Attributes:
        reliability: How far what was stated is from what came true, bin by bin; lower is better.
        resolution: How far the bins differ from the overall share; higher is better.
        uncertainty: The Brier score of always stating the overall shares.
        within_bins: What the bins hide: 0, but for rounding, when every bin holds one probability.
        bins, scheme: How probabilities were binned.

    Example:
        >>> BrierDecomposition(
        ...     reliability=0.125, resolution=0.25, uncertainty=0.5, within_bins=0.0, bins=15,
        ...     scheme="width",
        ... ).brier
        0.375
    """

    reliability: float
    resolution: float
    uncertainty: float
    within_bins: float
    bins: int
    scheme: Scheme

    @property
    def brier(self) -> float:
        """reliability - resolution + uncertainty + within_bins: the Brier score."""
        return self.reliability - self.resolution + self.uncertainty + self.within_bins


def brier_decomposition(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 15, scheme: Scheme = "width"
) -> BrierDecomposition:
    """Murphy's decomposition of the Brier score, class by class against the rest, summed.

    With n_b images in bin b, mean probability p_b, share o_b of the class, and overall share o:
    reliability = sum_b n_b/n (p_b - o_b)^2, resolution = sum_b n_b/n (o_b - o)^2, uncertainty =
    o (1 - o). Murphy's identity brier = reliability - resolution + uncertainty is exact only when
    a bin holds one probability; what else there is, the variance within the bins less twice the
    covariance with the outcome, is `within_bins`, so that the sum is exact always. Bins as in
    `edgetl.metrics.ece`. Sources: Murphy, A new vector partition of the probability score, 1973;
    Stephenson, Coelho and Jolliffe, Two extra components in the Brier score decomposition, 2008.

    A class without an image has no uncertainty and no resolution; what is stated of it is
    reliability.

    Args:
        probabilities: Floating point [n, K].
        labels: Integers [n].
        bins: How many bins, at least 1.
        scheme: "width" or "mass".

    Raises:
        DataError: When the arrays are not such, hold NaN, or do not fit together; when there is
            no such scheme or number of bins.

    Example:
        >>> parts = brier_decomposition([[0.75, 0.25]] * 4, [0, 0, 1, 1])
        >>> parts.reliability, parts.resolution, parts.uncertainty, parts.within_bins
        (0.125, 0.0, 0.5, 0.0)
    """
    parts = [
        _parts(column, hits, bins, scheme) for column, hits in class_columns(probabilities, labels)
    ]
    reliability, resolution, uncertainty, within = np.sum(parts, axis=0).tolist()
    return BrierDecomposition(
        reliability=reliability,
        resolution=resolution,
        uncertainty=uncertainty,
        within_bins=within,
        bins=int(bins),
        scheme=scheme,
    )


def _parts(
    stated: FloatArray, hits: BoolArray, bins: int, scheme: Scheme
) -> tuple[float, float, float, float]:
    index = bin_of(stated, bins, scheme)
    n = len(stated)
    count = np.bincount(index, minlength=bins)
    share = np.maximum(count, 1)
    mean = np.bincount(index, stated, minlength=bins) / share
    seen = np.bincount(index[hits], minlength=bins) / share
    overall = np.count_nonzero(hits) / n
    stated -= mean[index]
    within = np.square(stated).sum() - 2.0 * stated[hits].sum()
    return (
        float((count * np.square(mean - seen)).sum() / n),
        float((count * np.square(seen - overall)).sum() / n),
        overall * (1.0 - overall),
        float(within / n),
    )
