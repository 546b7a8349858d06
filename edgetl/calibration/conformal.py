"""Sets of labels that hold the true one as often as asked: split conformal.

Numpy only, but for `coverage_range`, which no device asks for.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.errors import DataError, UsageError
from edgetl.extras import extra
from edgetl.metrics.checks import as_labels, as_probabilities
from edgetl.stats.checks import check_confidence

FloatArray = NDArray[np.float64]
Method = Literal["lac", "aps"]

METHODS: tuple[str, ...] = get_args(Method)
COVERAGES = tuple(thousandths / 1000 for thousandths in (*range(500, 1000, 10), *range(991, 1000)))
"""The coverages that quantiles are kept for: 0.50, 0.51 … 0.99, 0.991 … 0.999."""


@dataclass(frozen=True, kw_only=True)
class ConformalFit:
    """The quantiles of the calibration scores, which is all that a set needs at run time.

    Attributes:
        n: Images it was fitted on.
        coverage: Coverages, rising.
        lac, aps: The quantile of each method for each coverage, never falling; None where n
            images are too few for the coverage.
    """

    n: int
    coverage: tuple[float, ...]
    lac: tuple[float | None, ...]
    aps: tuple[float | None, ...]

    def to_json(self) -> dict[str, Any]:
        """The table as plain data, as in ``edgetl.conformal/1``."""
        return asdict(self)


def label_scores(probabilities: FloatArray, method: Method) -> FloatArray:
    """How strange each label would be for each image: a set holds those up to a quantile.

    - ``lac``: 1 - p(label). Source: Sadinle, Lei and Wasserman, JASA 114:223-234, 2019.
    - ``aps``: the probability of all labels ahead of this one, so 0 for the first. A set is then
      the shortest list of the most probable labels that reaches the quantile. Source: Romano,
      Sesia and Candès, arXiv 2006.02544, without their randomisation: the same image has to get
      the same set twice. Of equal labels the first is ahead.

    Args:
        probabilities: float64 [n, K].
        method: ``lac`` or ``aps``.

    Returns:
        float64 [n, K], never below 0 but for rounding.

    Raises:
        UsageError: For another method.

    Example:
        >>> label_scores(np.array([[0.25, 0.625, 0.125]]), "aps")
        array([[0.625, 0.   , 0.875]])
        >>> label_scores(np.array([[0.25, 0.625, 0.125]]), "lac")
        array([[0.75 , 0.375, 0.875]])
    """
    if method not in METHODS:
        raise UsageError(
            "method", got=repr(method), expected=" or ".join(METHODS), fix="name one of these"
        )
    if method == "lac":
        lac: FloatArray = 1.0 - probabilities
        return lac
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ahead = np.zeros_like(probabilities)
    falling = np.take_along_axis(probabilities, order, axis=1)
    np.cumsum(falling[:, :-1], axis=1, out=ahead[:, 1:])
    scores = np.empty_like(probabilities)
    np.put_along_axis(scores, order, ahead, axis=1)
    return scores


def quantile_rank(n: int, coverage: float) -> int | None:
    """Which of n sorted scores is the quantile for a coverage: ceil((n + 1) coverage).

    One more image than the n is thought of, whose rank among all n + 1 is equally likely to be
    any. Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005.

    Args:
        n: Calibration images.
        coverage: Between 0 and 1, in whole thousandths, so that no rounding error adds an image.

    Returns:
        1..n, or None when n images cannot promise this coverage.

    Example:
        >>> quantile_rank(99, 0.9), quantile_rank(99, 0.99), quantile_rank(98, 0.99)
        (90, 99, None)
    """
    rank = -(-(n + 1) * round(coverage * 1000) // 1000)
    return rank if rank <= n else None


def coverage_range(
    n: int, coverage: float, tested: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Between what the coverage on test images lies when nothing is wrong.

    It scatters for two reasons: the quantile comes from n images, the measurement from others.
    Hits on test are beta-binomial with rank and n + 1 - rank, where no two scores tie; ties only
    add coverage. Source: Vovk, arXiv 1209.2673, 2012; Angelopoulos and Bates, arXiv 2107.07511,
    appendix C.

    Args:
        n: Calibration images, enough for the coverage.
        coverage: In whole thousandths.
        tested: Test images.
        confidence: Two-sided, between 0 and 1.

    Returns:
        (low, high), shares of the test images.

    Raises:
        DataError: For a confidence outside 0..1, no test image, or an n too small.

    Example:
        >>> low, high = coverage_range(1000, 0.9, 10_000)
        >>> print(f"{low:.3f} {high:.3f}")
        0.880 0.919
    """
    with extra("gate"):
        from scipy.stats import betabinom

    check_confidence(confidence)
    rank = quantile_rank(n, coverage)
    if rank is None or tested < 1:
        raise DataError(
            "coverage",
            got=f"{coverage} from {n} images, measured on {tested}",
            expected=f"at most {n}/{n + 1}, and at least one test image",
            fix="ask for less, or take more images",
        )
    ends = betabinom.ppf([(1 - confidence) / 2, (1 + confidence) / 2], tested, rank, n + 1 - rank)
    return float(ends[0]) / tested, float(ends[1]) / tested


def fit_conformal(
    probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    coverages: tuple[float, ...] = COVERAGES,
) -> ConformalFit:
    """The quantiles of both methods on calibration images.

    Args:
        probabilities: [n, K], of images that the classifier was not trained on.
        labels: Integers [n].
        coverages: In whole thousandths, rising, each between 0 and 1.

    Raises:
        DataError: When the arrays are not such or do not fit together.

    Example:
        >>> fit = fit_conformal([[0.75, 0.25]] * 9, [0] * 8 + [1], coverages=(0.8, 0.9, 0.95))
        >>> fit.lac, fit.aps
        ((0.25, 0.75, None), (0.0, 0.75, None))
    """
    checked = as_probabilities(probabilities)
    classes = as_labels(labels, *checked.shape)
    ranks = [quantile_rank(len(classes), coverage) for coverage in coverages]

    def quantiles(method: Method) -> tuple[float | None, ...]:
        own = np.sort(label_scores(checked, method)[np.arange(len(classes)), classes])
        return tuple(None if rank is None else float(own[rank - 1]) for rank in ranks)

    return ConformalFit(
        n=len(classes), coverage=tuple(coverages), lac=quantiles("lac"), aps=quantiles("aps")
    )


def label_sets(probabilities: FloatArray, quantile: float, method: Method) -> NDArray[np.bool_]:
    """Whether each label belongs to the image's set.

    Args:
        probabilities: float64 [n, K].
        quantile: From `fit_conformal`.
        method: The one that the quantile belongs to.

    Returns:
        bool [n, K]. A row of ``lac`` may hold no label at all; one of ``aps`` holds the most
        probable label at least.

    Example:
        >>> rows = np.array([[0.625, 0.25, 0.125], [0.4375, 0.3125, 0.25]])
        >>> label_sets(rows, 0.5, "lac").tolist()
        [[True, False, False], [False, False, False]]
        >>> label_sets(rows, 0.5, "aps").tolist()
        [[True, False, False], [True, True, False]]
    """
    inside: NDArray[np.bool_] = label_scores(probabilities, method) <= quantile
    return inside
