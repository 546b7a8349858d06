"""How well a frozen backbone's features already tell classes apart, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import DataError
from edgetl.extras import extra
from edgetl.train.solve_head import choose_weight_decay, solve_head

Features = NDArray[np.float32]
Labels = NDArray[np.int64]
Solved = tuple[NDArray[np.float32], NDArray[np.float32]]
"""The weight [K, d] and the bias [K] of a linear layer."""

WEIGHT_DECAYS = (1e-3, 1e-2, 1e-1, 1.0)
"""What the probe's weight decay is chosen from, on features whose mean variance is 1."""

FOLDS = 5

# The ratio of the precisions, over the largest squared singular value of the features.
_RATIOS = np.logspace(-10, 6, 65)


@dataclass(frozen=True, kw_only=True)
class Transferability:
    """What the features of labelled images say of a backbone; higher LogME is better.

    Attributes:
        logme: `logme`, nats an image and class.
        probe_top1, probe_nll: Of a linear probe on the images that each of its folds left out.
        probe_nll_error: The standard error of the NLL, from fold to fold.
        weight_decay: Chosen by those folds.
        images, dimensions: The shape of the features.
    """

    logme: float
    probe_top1: float
    probe_nll: float
    probe_nll_error: float
    weight_decay: float
    images: int
    dimensions: int


def logme(features: Features, labels: Labels, classes: int) -> float:
    """The log of the maximum evidence of a linear model of the labels, an image and class.

    For each class the 0/1 labels y follow N(Fw, 1/β) with w ~ N(0, 1/α); the evidence p(y | F)
    is maximised over α and β, and the mean of its logarithm over the classes is divided by n.
    You et al. 2021, arXiv:2102.11005. With t = α/β the best noise has a closed form, so that what
    is searched has one dimension; the singular values of F make each step O(n).

    Args:
        features: float32 [n, d], finite, as the head would take them.
        labels: int64 [n], every class at least twice.
        classes: K.

    Raises:
        DataError: For a class with fewer than two images, or features that are not finite.

    Example:
        >>> labels = np.array([0, 0, 0, 1, 1, 1])
        >>> told = np.array([[1, 1.1, 0.9, -1, -0.9, -1.1]], np.float32).T
        >>> blind = np.array([[1, -1, 1, -1, 1, -1]], np.float32).T
        >>> logme(told, labels, 2) > logme(blind, labels, 2)
        True
    """
    check_features(features, labels, classes)
    basis, singular, _ = np.linalg.svd(features.astype(np.float64), full_matrices=False)
    squares = singular**2
    found = []
    for label in range(classes):
        target = (labels == label).astype(np.float64)
        inside = (basis.T @ target) ** 2
        # Not the difference of two nearly equal sums: that could come out below 0.
        outside = float(np.sum((target - basis @ (basis.T @ target)) ** 2))
        found.append(_most_evidence(squares, inside, outside, len(labels)))
    return float(np.mean(found)) / len(labels)


def _most_evidence(
    squares: NDArray[np.float64], inside: NDArray[np.float64], outside: float, n: int
) -> float:
    """The log evidence at its maximum: bracketed on a grid of log t, then refined.

    Args:
        squares: The squared singular values of the features, [k].
        inside: The squared part of the target along each of them, [k].
        outside: Its squared part that no direction of the features has.
        n: The number of images.
    """
    with extra("gate"):
        from scipy.optimize import minimize_scalar
    scale = max(float(squares.max(initial=0.0)), np.finfo(np.float64).tiny)

    def evidence(log_ratio: float) -> float:
        widths = 1 + squares / scale / np.exp(log_ratio)
        noise = max((float((inside / widths).sum()) + outside) / n, np.finfo(np.float64).tiny)
        return float(-0.5 * (n * np.log(2 * np.pi * noise) + n + np.log(widths).sum()))

    grid = np.log(_RATIOS)
    values = [evidence(at) for at in grid]
    best = int(np.argmax(values))
    around = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    refined = minimize_scalar(lambda at: -evidence(at), bounds=around, method="bounded")
    return max(values[best], -float(refined.fun))


def transferability(
    features: Features, labels: Labels, classes: Sequence[str], *, seed: int = 0
) -> Transferability:
    """LogME, and the figures of a cross-validated linear probe.

    Args:
        features: float32 [n, d].
        labels: int64 [n], every class at least twice.
        classes: The classes' names, in the order of the labels.
        seed: Of the folds.

    Raises:
        DataError: As `logme`.

    Example:
        >>> labels = np.tile([0, 1], 10)
        >>> features = np.stack([labels * 2.0 - 1, np.ones(20)], axis=1).astype(np.float32)
        >>> transferability(features, labels, ("a", "b")).probe_top1
        1.0
    """
    score = logme(features, labels, len(classes))
    small, _ = _compact(features)
    found = choose_weight_decay(
        small / _scale(features),
        labels,
        classes,
        candidates=WEIGHT_DECAYS,
        folds=FOLDS,
        seed=seed,
    )
    row = next(one for one in found.table if one.weight_decay == found.weight_decay)
    return Transferability(
        logme=score,
        probe_top1=row.top1,
        probe_nll=row.nll,
        probe_nll_error=row.standard_error,
        weight_decay=found.weight_decay,
        images=len(features),
        dimensions=features.shape[1],
    )


def probe_head(
    features: Features, labels: Labels, classes: Sequence[str], *, weight_decay: float
) -> Solved:
    """A linear head solved on frozen features: weight float32 [K, d] and bias float32 [K].

    The features are brought to one scale first, so that a weight decay means the same to every
    backbone; the head that is given takes them as they are.

    Args:
        features: float32 [n, d].
        labels: int64 [n].
        classes: The classes' names, in the order of the labels.
        weight_decay: As `edgetl.train.solve_head.solve_head` takes it.

    Example:
        >>> labels = np.tile([0, 1], 10)
        >>> features = (100 * labels[:, None]).astype(np.float32)
        >>> weight, bias = probe_head(features, labels, ("a", "b"), weight_decay=1e-2)
        >>> (features @ weight.T + bias).argmax(axis=1).tolist() == labels.tolist()
        True
    """
    scale, (small, basis) = _scale(features), _compact(features)
    weight, bias = solve_head(small / scale, labels, classes, weight_decay=weight_decay)
    whole = weight if basis is None else weight @ basis
    return (whole / scale).astype(np.float32), bias


def _compact(features: Features) -> tuple[Features, NDArray[np.float64] | None]:
    """Features in a basis of their own span, and the basis [n, d]; as they are for d <= n.

    A penalised head has no part outside the span of what it was solved on, so that it is the same
    head, and a solver's step costs n instead of d.
    """
    n, d = features.shape
    if d <= n:
        return features, None
    left, singular, basis = np.linalg.svd(features.astype(np.float64), full_matrices=False)
    return (left * singular).astype(np.float32), basis


def _scale(features: Features) -> np.float32:
    """The root of the mean variance of the dimensions; 1 for features that never change."""
    found = np.sqrt(np.mean(features.var(axis=0, dtype=np.float64)))
    return np.float32(found if found > 0 else 1.0)


def check_features(features: Features, labels: Labels, classes: int) -> None:
    """Refuse features that nothing can be told from.

    Raises:
        DataError: Naming what is wrong.

    Example:
        >>> check_features(np.ones((4, 1), np.float32), np.array([0, 1, 0, 1]), 2)
    """
    if features.ndim != 2 or len(features) != len(labels) or not np.isfinite(features).all():
        raise DataError(
            "features of the backbone",
            got=f"shape {features.shape} for {len(labels)} labels"
            + ("" if np.isfinite(features).all() else ", with NaN or infinity among them"),
            expected="finite numbers [images, dimensions]",
            fix="look at the backbone's weights, and at mean and std of the input",
        )
    counts = np.bincount(labels, minlength=classes)
    if classes < 2 or counts.min() < 2:
        raise DataError(
            "labels of the images for features",
            got=f"{classes} classes, of which the rarest, {int(counts.argmin())}, has "
            f"{int(counts.min())} images",
            expected="two classes or more, with at least two images of each",
            fix="ask for more images, or leave the class out",
        )
