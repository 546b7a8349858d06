"""A linear head solved to convergence on frozen features, and its weight decay by cross-validation.

Multinomial logistic regression is convex: what fine-tuning's steps approach, a solver reaches.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.errors import ConfigError, DataError
from edgetl.extras import extra
from edgetl.metrics import softmax

CANDIDATES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_TOLERANCE = 1e-7
# What a gradient may be left at, of a mean loss on features of unit size.
_SOLVED = 1e-5
_STEPS = 10_000
_LEAST = 1e-12

Weights = NDArray[np.float32]
Floats = NDArray[np.float64]
Predictor = Callable[[NDArray[np.float32]], Floats]
Fit = Callable[[NDArray[np.float32], NDArray[np.int64], float], Predictor]
"""From features, labels and a weight decay to a function from features to raw logits [n, K]."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One weight decay in cross-validation.

    Attributes:
        weight_decay: What was tried.
        nll: Mean negative log-likelihood of the held-out features, in nats.
        standard_error: Of that mean, from fold to fold.
        top1: Share of the held-out features that are classified right.
    """

    weight_decay: float
    nll: float
    standard_error: float
    top1: float


@dataclass(frozen=True, kw_only=True)
class CrossValidated:
    """A weight decay, and what it was chosen among.

    Attributes:
        weight_decay: The one of the lowest held-out NLL; of equal ones the largest.
        folds: How many there were: no more than the smallest class has images.
        table: One row a candidate, in ascending order.
    """

    weight_decay: float
    folds: int
    table: tuple[Tried, ...]

    @property
    def at_end(self) -> bool:
        """Whether no larger (or no smaller) weight decay was tried."""
        return self.weight_decay in (self.table[0].weight_decay, self.table[-1].weight_decay)


def solve_head(
    features: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str] | int,
    *,
    weight_decay: float,
    class_weights: ArrayLike | None = None,
) -> tuple[Weights, Weights]:
    """The linear head that minimises the penalised cross-entropy on given features.

    With n features x, their labels y and λ = `weight_decay` it is the minimum over W and b of

        Σᵢ a(yᵢ) · (−log softmax(W xᵢ + b)[yᵢ]) / Σᵢ a(yᵢ)  +  λ/2 · ‖W‖²

    where a is 1 without `class_weights`, and the bias is not penalised, as the bias does not decay
    in training. It is what gradient descent with ``weight_decay=λ`` goes to (torch's SGD adds λW
    to the gradient). AdamW's decoupled decay (Loshchilov and Hutter 2019, arXiv:1711.05101)
    minimises no such sum: there the same number is another strength.

    Args:
        features: float [n, d], what the head takes.
        labels: int [n], each class at least once.
        classes: The classes' names, in the order of the labels, or their number K.
        weight_decay: λ, finite and not negative. 0 has a solution only where no plane separates
            the classes.
        class_weights: float [K] above 0: what an image of each class counts.

    Returns:
        The weight float32 [K, d] and the bias float32 [K], whose mean over the classes is 0.

    Raises:
        DataError: For features that are not finite, fewer than two classes, a class without an
            image, classes that are separated with λ = 0, or a solver that did not converge.
        ConfigError: For a weight decay or class weights that cannot be used.

    Example:
        >>> features = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> weight, bias = solve_head(features, [0, 0, 1, 1], ("low", "high"), weight_decay=0.1)
        >>> ((features @ weight.T + bias).argmax(axis=1)).tolist()
        [0, 0, 1, 1]
    """
    classes = _named(classes, labels)
    x, y = _checked(features, labels, classes)
    _check_decay(weight_decay)
    counts = _sample_weights(class_weights, y, len(classes))
    # The optimum of W does not change when the features' mean is taken off (the bias takes it),
    # and one factor for all of them is a factor of W and λ: the solver needs far fewer steps.
    mean = np.average(x, axis=0, weights=counts)
    scale = float(np.sqrt(np.mean((x - mean) ** 2))) or 1.0
    scaled = (x - mean) / scale
    weight, bias = _fitted(scaled, y, counts, len(classes), weight_decay / scale**2)
    _check_solved(scaled, y, counts, weight, bias, weight_decay / scale**2)
    weight = weight / scale
    bias = bias - weight @ mean
    return weight.astype(np.float32), (bias - bias.mean()).astype(np.float32)


def choose_weight_decay(
    features: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str] | int | None = None,
    *,
    candidates: Sequence[float] = CANDIDATES,
    folds: int = 5,
    seed: int = 0,
    class_weights: ArrayLike | None = None,
    fit: Fit | None = None,
) -> CrossValidated:
    """The weight decay with the lowest negative log-likelihood in stratified cross-validation.

    Each fold is predicted by a head that was fitted on the others. The minimum is taken, not the
    largest decay within one standard error of it (Hastie, Tibshirani and Friedman 2009, section
    7.10): at a few images a class that error spans nearly every candidate, and the strongest decay
    would always win. The table has both, so that a reader can choose otherwise.

    Args:
        features: float [n, d].
        labels: int [n], each class at least twice.
        classes: The classes' names, in the order of the labels, or their number K; None counts
            up to the largest label.
        candidates: Finite numbers above 0, each once.
        folds: At most; no more than the smallest class has images.
        seed: Of the folds.
        class_weights: float [K]: what an image of each class counts, in the fit and in the mean.
        fit: What fits a head; None takes `solve_head`.

    Raises:
        DataError: As `solve_head`; for a class of one image.
        ConfigError: For no candidates, or ones that cannot be used; for fewer than two folds.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(40) % 2
        >>> features = rng.normal(size=(40, 3)) + labels[:, None]
        >>> chosen = choose_weight_decay(features, labels, ("a", "b"), candidates=(0.1, 100.0))
        >>> chosen.weight_decay, chosen.folds
        (0.1, 5)
    """
    classes = _named(classes, labels)
    x, y = _checked(features, labels, classes)
    tried = _checked_candidates(candidates, folds)
    folds = min(folds, _least_of(y, classes))
    counts = _sample_weights(class_weights, y, len(classes))
    fitted = fit or _solver(classes, class_weights)
    held_out = [np.zeros((len(y), len(classes))) for _ in tried]
    number = np.zeros(len(y), np.int64)
    for at, (learn, keep) in enumerate(_splits(x, y, folds, seed)):
        number[keep] = at
        for answers, decay in zip(held_out, tried, strict=True):
            predict = fitted(x[learn].astype(np.float32), y[learn], decay)
            answers[keep] = softmax(predict(x[keep].astype(np.float32)))
    rows = tuple(
        _row(decay, answers, y, counts, number, folds)
        for decay, answers in zip(tried, held_out, strict=True)
    )
    best = min(rows, key=lambda row: (row.nll, -row.weight_decay))
    return CrossValidated(weight_decay=best.weight_decay, folds=folds, table=rows)


def check_examples(labels: NDArray[np.int64], classes: Sequence[str], *, least: int = 1) -> None:
    """Refuse labels of which a class has too few examples.

    Raises:
        DataError: Naming the class and how many it has.

    Example:
        >>> check_examples(np.array([0, 1]), ("a", "b"))
    """
    if len(classes) < 2:
        raise DataError(
            "classes",
            got=", ".join(classes) or "none",
            expected="at least two",
            fix="add the other classes: a classifier of one has nothing to decide",
        )
    counts = np.bincount(labels, minlength=len(classes))
    if counts.min() < least:
        short = int(counts.argmin())
        raise DataError(
            f"class {classes[short]!r}",
            got=f"{counts[short]} image{'' if counts[short] == 1 else 's'} to train on",
            expected=f"at least {least}",
            fix="add images of this class, or leave the class out",
        )


def _fitted(
    x: Floats, y: NDArray[np.int64], counts: Floats, classes: int, decay: float
) -> tuple[Floats, Floats]:
    with extra("train"):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    # Two classes are one row in the library, the difference of ours: half its penalty.
    strength = decay * counts.sum() / (2 if classes == 2 else 1)
    model: Any = LogisticRegression(
        C=1 / strength if strength else np.inf, tol=_TOLERANCE, max_iter=_STEPS
    )
    with warnings.catch_warnings():
        # What it stopped at is looked at: it may not reach its tolerance and be near enough.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y, sample_weight=counts)
    weight, bias = np.asarray(model.coef_), np.asarray(model.intercept_)
    if classes == 2:
        weight, bias = np.stack([-weight[0], weight[0]]) / 2, np.array([-bias[0], bias[0]]) / 2
    return weight, bias


def _check_solved(
    x: Floats,
    y: NDArray[np.int64],
    counts: Floats,
    weight: Floats,
    bias: Floats,
    decay: float,
) -> None:
    raw = x @ weight.T + bias
    if decay == 0 and bool((raw.argmax(axis=1) == y).all()):
        raise DataError(
            "the head's features",
            got="classes that planes separate, with a weight decay of 0",
            expected="a weight decay above 0: without one the best head is endlessly large",
            fix="raise weight_decay, or let cross-validation choose it",
        )
    share = softmax(raw)
    share[np.arange(len(y)), y] -= 1
    share *= (counts / counts.sum())[:, None]
    gradient = max(np.abs(share.T @ x + decay * weight).max(), np.abs(share.sum(axis=0)).max())
    if not gradient <= _SOLVED:
        raise DataError(
            "the head's features",
            got=f"a gradient of {gradient:.1g} after {_STEPS} steps of the solver",
            expected=f"at most {_SOLVED:g}",
            fix="raise weight_decay: the classes are nearly separated, or the features far apart "
            "in size",
        )


def _named(classes: Sequence[str] | int | None, labels: ArrayLike) -> tuple[str, ...]:
    if classes is None:
        classes = int(np.max(np.asarray(labels), initial=-1)) + 1
    return tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)


def _checked(
    features: ArrayLike, labels: ArrayLike, classes: Sequence[str]
) -> tuple[Floats, NDArray[np.int64]]:
    x, y = np.asarray(features, np.float64), np.asarray(labels)
    if x.ndim != 2 or y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer):
        raise DataError(
            "the head's features",
            got=f"features of shape {x.shape}, labels of shape {y.shape} and dtype {y.dtype}",
            expected="features [n, d] and whole-number labels [n]",
            fix="give one row of features for each label",
        )
    if not np.isfinite(x).all():
        raise DataError(
            "the head's features",
            got="NaN or infinity",
            expected="finite numbers",
            fix="look for them in the starting weights or the inputs",
        )
    if len(y) and not (y.min() >= 0 and y.max() < len(classes)):
        raise DataError(
            "labels",
            got=f"{y.min()} to {y.max()}",
            expected=f"0 to {len(classes) - 1}, for {len(classes)} classes",
            fix="name every class, in the order of the labels",
        )
    check_examples(y.astype(np.int64), classes)
    return x, y.astype(np.int64)


def _check_decay(weight_decay: float, low: str = "from 0") -> None:
    usable = np.isfinite(weight_decay) and weight_decay >= 0
    if not usable or (low == "above 0" and weight_decay == 0):
        raise ConfigError(
            "weight_decay",
            got=str(weight_decay),
            expected=f"a finite number {low}",
            fix="set such a number",
        )


def _checked_candidates(candidates: Sequence[float], folds: int) -> tuple[float, ...]:
    for decay in candidates:
        _check_decay(decay, "above 0")
    if not candidates or len(set(candidates)) != len(candidates) or folds < 2:
        raise ConfigError(
            "cross-validation",
            got=f"the weight decays {list(candidates)} in {folds} folds",
            expected="at least one weight decay, each once, and two folds",
            fix="list each candidate once",
        )
    return tuple(sorted(map(float, candidates)))


def _least_of(labels: NDArray[np.int64], classes: Sequence[str]) -> int:
    # One is left to learn from when the other is held out.
    check_examples(labels, classes, least=2)
    return int(np.bincount(labels).min())


def _sample_weights(
    class_weights: ArrayLike | None, labels: NDArray[np.int64], classes: int
) -> Floats:
    if class_weights is None:
        return np.ones(len(labels))
    values = np.asarray(class_weights, np.float64)
    if values.shape != (classes,) or not (np.isfinite(values) & (values > 0)).all():
        raise ConfigError(
            "class_weights",
            got=str(values.tolist()),
            expected=f"{classes} finite numbers above 0",
            fix="give one for each class",
        )
    return values[labels]


def _solver(classes: Sequence[str], class_weights: ArrayLike | None) -> Fit:
    def fit(x: NDArray[np.float32], y: NDArray[np.int64], decay: float) -> Predictor:
        weight, bias = solve_head(x, y, classes, weight_decay=decay, class_weights=class_weights)
        return lambda other: np.asarray(other @ weight.T + bias, np.float64)

    return fit


def _splits(
    x: Floats, y: NDArray[np.int64], folds: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    with extra("train"):
        from sklearn.model_selection import StratifiedKFold
    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, y))


def _row(
    decay: float,
    probabilities: Floats,
    labels: NDArray[np.int64],
    counts: Floats,
    number: NDArray[np.int64],
    folds: int,
) -> Tried:
    loss = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], _LEAST))
    each = [
        np.average(loss[number == fold], weights=counts[number == fold]) for fold in range(folds)
    ]
    right = probabilities.argmax(axis=1) == labels
    return Tried(
        weight_decay=decay,
        nll=float(np.average(loss, weights=counts)),
        standard_error=float(np.std(each, ddof=1) / np.sqrt(folds)),
        top1=float(np.average(right, weights=counts)),
    )
