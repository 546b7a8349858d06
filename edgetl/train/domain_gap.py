"""How far two domains are apart, seen by features: a kernel test and a domain classifier."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.errors import DataError
from edgetl.extras import extra

_FEWEST = 10
_FOLDS = 5
_SHOWN = 0.05


@dataclass(frozen=True, kw_only=True)
class DomainGap:
    """What was measured between source and target.

    Attributes:
        mmd2: Unbiased squared maximum mean discrepancy, about 0 for one domain (it may be below).
        p_value: How often a random split of the pooled images is as far apart.
        permutations: Of how many such splits.
        bandwidth: The kernel's sigma: the median distance between two images' features.
        domain_accuracy: Of a linear classifier of the domain on images that it was not fitted on,
            the mean of both domains' accuracies: 0.5 is chance.
        proxy_a_distance: 2 (1 - 2 error) of that classifier, 0 (one domain) to 2.
        source_images, target_images: How many were taken.
    """

    mmd2: float
    p_value: float
    permutations: int
    bandwidth: float
    domain_accuracy: float
    proxy_a_distance: float
    source_images: int
    target_images: int

    @property
    def shown(self) -> bool:
        """Whether the kernel test finds two domains, at 5 %."""
        return self.p_value <= _SHOWN

    @property
    def sentence(self) -> str:
        """For people."""
        found = "source and target differ" if self.shown else "no gap shown between the domains"
        return (
            f"{found}: a linear classifier tells their features apart in "
            f"{100 * self.domain_accuracy:.1f} % of cases (50 % is chance), "
            f"MMD² {self.mmd2:.4f}, p = {self.p_value:.3g}"
        )

    def to_json(self) -> Mapping[str, Any]:
        """The figures and the sentence as plain data."""
        return asdict(self) | {"sentence": self.sentence}


def domain_gap(
    source: ArrayLike,
    target: ArrayLike,
    *,
    most: int = 500,
    permutations: int = 500,
    seed: int = 0,
) -> DomainGap:
    """Compare the features of two sets of images.

    Two views: `mmd2_unbiased` with a permutation test, which sees any difference of
    distributions, and a linear domain classifier's cross-validated accuracy as proxy A-distance
    (Ben-David et al. 2006, Analysis of representations for domain adaptation, section 5), which
    says how easily they are told apart. Neither says that transfer will fail.

    Args:
        source: Floating point [m, d], finite, m at least 10.
        target: [n, d].
        most: Images a side; of more a random part is taken.
        permutations: Of the test; the smallest p is 1 / (permutations + 1).
        seed: Of the random part, the permutations and the folds.

    Raises:
        DataError: For features that are not such.
        MissingExtraError: When scikit-learn is not installed.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> near, far = rng.normal(size=(2, 60, 3))
        >>> gap = domain_gap(near, far + 3)
        >>> gap.shown, gap.domain_accuracy > 0.9
        (True, True)
    """
    x, y = _features(source, "source"), _features(target, "target")
    if x.shape[1] != y.shape[1]:
        raise DataError(
            "features of source and target",
            got=f"{x.shape[1]} and {y.shape[1]} numbers an image",
            expected="as many on both sides",
            fix="take both from one layer of one network",
        )
    rng = np.random.default_rng(seed)
    x, y = _part(x, most, rng), _part(y, most, rng)
    bandwidth = median_bandwidth(x, y)
    kernel = _kernel(np.concatenate([x, y]), bandwidth)
    mmd2, p_value = _permutation_test(kernel, len(x), permutations, rng)
    accuracy = _domain_accuracy(x, y, seed)
    return DomainGap(
        mmd2=mmd2,
        p_value=p_value,
        permutations=permutations,
        bandwidth=bandwidth,
        domain_accuracy=accuracy,
        # A classifier below chance has found nothing either.
        proxy_a_distance=max(0.0, 2 * (1 - 2 * (1 - accuracy))),
        source_images=len(x),
        target_images=len(y),
    )


def mmd2_unbiased(source: ArrayLike, target: ArrayLike, *, bandwidth: float) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy.

    Gretton et al. 2012, A kernel two-sample test, JMLR 13, equation 3, with the kernel
    exp(-||x - y||^2 / (2 sigma^2)).

    Args:
        source: Floating point [m, d].
        target: [n, d].
        bandwidth: sigma, above 0.

    Raises:
        DataError: For features that are not such.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> bool(abs(mmd2_unbiased(*rng.normal(size=(2, 200, 3)), bandwidth=2.0)) < 0.01)
        True
    """
    x, y = _features(source, "source"), _features(target, "target")
    kernel = _kernel(np.concatenate([x, y]), bandwidth)
    return float(_mmd2(kernel, _sides(len(x), len(x) + len(y))[:, None])[0])


def median_bandwidth(source: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    """The median distance between two different images of the pooled set.

    Gretton et al. 2012, section 8. Where more than half of all pairs are equal it is the mean
    distance, and 1 where all are: any number gives a discrepancy of 0 then.

    Args:
        source: float64 [m, d].
        target: float64 [n, d].

    Example:
        >>> median_bandwidth(np.array([[0.0], [1.0]]), np.array([[3.0]]))
        2.0
    """
    pooled = np.concatenate([source, target])
    distances = np.sqrt(_squares(pooled)[np.triu_indices(len(pooled), 1)])
    return float(np.median(distances)) or float(distances.mean()) or 1.0


def _features(values: ArrayLike, side: str) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim == 2 and len(x) >= _FEWEST and x.shape[1] and np.isfinite(x).all():
        return x
    finite = bool(np.isfinite(x).all())
    raise DataError(
        f"features of the {side}",
        got=f"shape {list(x.shape)}" if finite else "NaN or infinity",
        expected=f"finite numbers [n, d], of at least {_FEWEST} images",
        fix="give features of more images, one row an image",
    )


def _part(x: NDArray[np.float64], most: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return x if len(x) <= most else x[np.sort(rng.choice(len(x), most, replace=False))]


def _squares(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances, from centred values: rounding grows with the distance from zero."""
    x = x - x.mean(axis=0)
    norms = (x * x).sum(axis=1)
    squares: NDArray[np.float64] = np.maximum(norms[:, None] + norms[None] - 2 * (x @ x.T), 0.0)
    return squares


def _kernel(pooled: NDArray[np.float64], bandwidth: float) -> NDArray[np.float64]:
    """Zero on the diagonal: the unbiased estimate compares no image with itself."""
    kernel: NDArray[np.float64] = np.exp(-_squares(pooled) / (2 * bandwidth**2))
    np.fill_diagonal(kernel, 0.0)
    return kernel


def _sides(m: int, count: int) -> NDArray[np.float64]:
    return (np.arange(count) < m).astype(np.float64)


def _mmd2(kernel: NDArray[np.float64], source: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each column of `source`, 1 where an image counts as source and 0 as target."""
    target = 1 - source
    m, n = source[:, 0].sum(), target[:, 0].sum()
    seen = kernel @ source
    within = (source * seen).sum(axis=0) / (m * (m - 1))
    across = (target * seen).sum(axis=0) / (m * n)
    other = (target * (kernel @ target)).sum(axis=0) / (n * (n - 1))
    found: NDArray[np.float64] = within + other - 2 * across
    return found


def _permutation_test(
    kernel: NDArray[np.float64], m: int, permutations: int, rng: np.random.Generator
) -> tuple[float, float]:
    """The estimate, and (1 + as far apart) / (1 + permutations), which is never 0.

    Phipson and Smyth 2010, Permutation p-values should never be zero.
    """
    own = _sides(m, len(kernel))
    found = float(_mmd2(kernel, own[:, None])[0])
    shuffled = rng.permuted(np.tile(own[:, None], (1, permutations)), axis=0)
    # Rounding must not make a split like the own one count as less.
    as_far = int((_mmd2(kernel, shuffled) >= found - 1e-12).sum())
    return found, (1 + as_far) / (1 + permutations)


def _domain_accuracy(x: NDArray[np.float64], y: NDArray[np.float64], seed: int) -> float:
    with extra("train"):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import balanced_accuracy_score
        from sklearn.model_selection import StratifiedKFold, cross_val_predict
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    labels = np.repeat([0, 1], [len(x), len(y)])
    model = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=500)
    )
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A classifier that is stopped early is still one whose accuracy counts.
        warnings.simplefilter("ignore", ConvergenceWarning)
        guessed = cross_val_predict(model, np.concatenate([x, y]), labels, cv=folds)
    return float(balanced_accuracy_score(labels, guessed))
