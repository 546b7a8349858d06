"""Which labels are probably wrong: what an image is taken for by a model that did not learn it.

Confident learning (Northcutt, Jiang and Chuang 2021, arXiv:1911.00068) in numpy. Its authors' own
library is under the AGPL, which edgetl's users could not ship beside a closed app.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import DataError
from edgetl.extras import extra

FOLDS = 5
"""A class with fewer images is not judged: some fold would hold all or none of them."""

# Of the regression: half of this times the squared weights beside the mean loss, on standardised
# features. On 100, 300 and 1,000 digits it was among the best; a weaker one learns wrong labels by
# heart, and on 10,000 pictures of clothes nothing changed.
_PENALTY = 0.04
# What is wanted is who is on the wrong side, not the last digit of the optimum.
_TOLERANCE = 1e-3
_STEPS = 100
_MOST_FITTED = 20_000

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What speaks against each of n labels; K is the number of classes.

    Attributes:
        judged: bool [n], whether the image's class has `FOLDS` images. Where it has not, the other
            arrays say nothing.
        predicted: int64 [n], the most probable class out of sample.
        label_probability: float64 [n], of the label, out of sample.
        confident: bool [n], counted by confident learning as another class than the label.
        wrong: bool [n], whether the label looks wrong; see `look_for_wrong_labels`.
        agreement: Which share of the judged labels the out-of-sample answers repeat; NaN without
            a judged label.
    """

    judged: Bools
    predicted: Ints
    label_probability: Floats
    confident: Bools
    wrong: Bools
    agreement: float


def look_for_wrong_labels(
    features: NDArray[np.float32], labels: Ints, answers: Ints, *, seed: int = 0
) -> Evidence:
    """Judge every label by answers of models that did not learn it.

    A label looks wrong when confident learning counts it as another class, or when three agree:
    the out-of-sample answer is another class, so is that of the classifier which learnt the label,
    and the label's out-of-sample probability is below that of a guess, 1 over the classes judged.

    The first alone misses many wrong labels, for an image has to be at least as sure as the mean of
    the other class. How many are found, and how many are rightly named: docs/training.md.

    Args:
        features: float32 [n, d], finite.
        labels: int64 [n], as given.
        answers: int64 [n], of the classifier that was trained on these labels.
        seed: Of the folds.

    Raises:
        DataError: For features that are not finite, or arrays that do not fit together.
        MissingExtraError: When scikit-learn is not installed.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
        >>> truth = np.arange(40) % 2
        >>> features[:, 0] += 8 * truth
        >>> labels = truth.copy()
        >>> labels[3] = 0
        >>> np.flatnonzero(look_for_wrong_labels(features, labels, truth).wrong)
        array([3])
    """
    _check(features, labels, answers)
    judged = np.bincount(labels)[labels] >= FOLDS if len(labels) else np.zeros(0, np.bool_)
    present, own = np.unique(labels[judged], return_inverse=True)
    predicted = labels.copy()
    probability = np.ones(len(labels))
    confident = np.zeros(len(labels), np.bool_)
    if len(present) < 2:
        nothing = np.zeros(len(labels), np.bool_)
        return Evidence(
            judged=nothing,
            predicted=predicted,
            label_probability=probability,
            confident=confident,
            wrong=nothing,
            agreement=float("nan"),
        )
    table = out_of_sample(features[judged], own, seed=seed)
    predicted[judged] = present[table.argmax(axis=1)]
    probability[judged] = table[np.arange(len(own)), own]
    confident[judged] = confidently_other(table, own)
    three = (predicted != labels) & (answers != labels) & (probability < 1 / len(present))
    return Evidence(
        judged=judged,
        predicted=predicted,
        label_probability=probability,
        confident=confident,
        wrong=judged & (confident | three),
        agreement=float((predicted == labels)[judged].mean()),
    )


def out_of_sample(features: NDArray[np.float32], labels: Ints, *, seed: int = 0) -> Floats:
    """Class probabilities of each image by a regression fitted on other images.

    Multinomial logistic regression on standardised features, in `FOLDS` stratified folds.

    Args:
        features: float32 [n, d], finite.
        labels: int64 [n], 0..K-1, each at least `FOLDS` times, K >= 2.
        seed: Of the folds.

    Returns:
        float64 [n, K].

    Example:
        >>> labels = np.arange(20) % 2
        >>> features = labels[:, None].astype(np.float32)
        >>> out_of_sample(features, labels).argmax(axis=1).tolist() == labels.tolist()
        True
    """
    with extra("train"):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    table = np.zeros((len(labels), int(labels.max()) + 1))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for learn, keep in folds.split(features, labels):
        learn = _at_most(learn, labels, seed)
        model = make_pipeline(
            StandardScaler(),
            LogisticRegression(C=1 / (_PENALTY * len(learn)), tol=_TOLERANCE, max_iter=_STEPS),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features[learn], labels[learn])
        table[keep] = model.predict_proba(features[keep])
    return table


def confidently_other(probabilities: Floats, labels: Ints) -> Bools:
    """Whether confident learning counts an image as another class than its label.

    An image may be of class j where p_j is at least the mean p_j of the images labelled j; of
    several such classes it counts as the most probable, of none not at all. What is counted
    beside the diagonal of label and class is named (equation 1 and section 3.1 of the paper).

    Args:
        probabilities: float64 [n, K], out of sample.
        labels: int64 [n], each class of 0..K-1 at least once.

    Returns:
        bool [n].

    Example:
        >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.05, 0.95]])
        >>> confidently_other(p, np.array([0, 0, 1, 1, 0])).tolist()
        [False, False, False, False, True]
    """
    rows = np.arange(len(labels))
    mean = np.bincount(labels, weights=probabilities[rows, labels]) / np.bincount(labels)
    likely = np.where(probabilities >= mean, probabilities, -1.0)
    # More than the label's own, so that where nothing tells classes apart nothing is named.
    named: Bools = likely.max(axis=1) > likely[rows, labels]
    return named


def _at_most(learn: Ints, labels: Ints, seed: int) -> Ints:
    """So many that a fit stays within seconds, each class in its share."""
    if len(learn) <= _MOST_FITTED:
        return learn
    rng, share = np.random.default_rng(seed), _MOST_FITTED / len(learn)
    kept = []
    for label in np.unique(labels[learn]):
        members = rng.permutation(learn[labels[learn] == label])
        # A rare class keeps all that a fold leaves it: without one the fit does not know it.
        kept.append(members[: max(round(share * len(members)), FOLDS - 1)])
    return np.sort(np.concatenate(kept))


def _check(features: NDArray[np.float32], labels: Ints, answers: Ints) -> None:
    n = len(labels)
    if features.ndim != 2 or labels.shape != (n,) or answers.shape != (n,) or len(features) != n:
        raise DataError(
            "features for wrong labels",
            got=f"features {features.shape}, labels {labels.shape}, answers {answers.shape}",
            expected="[n, d], [n] and [n]",
            fix="pass one row, one label and one answer for each image",
        )
    if not np.isfinite(features).all():
        raise DataError(
            "features for wrong labels",
            got="NaN or infinity",
            expected="finite numbers",
            fix="look for them in the classifier's weights or inputs",
        )
