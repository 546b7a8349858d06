"""Do the outputs of a network that came trained stand in the order of the classes?"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import ConfigError
from edgetl.extras import extra
from edgetl.metrics.checks import IntArray

_LEAST_GAIN = 0.2
_STANDARD_ERRORS = 4.0
_CHANCE_ERRORS = 3.0
_LEAST_SAMPLES = 50


def check_output_order(
    logits: NDArray[np.float32],
    labels: IntArray,
    *,
    names: Callable[[], Sequence[str]],
) -> str | None:
    """Refuse a network whose answers fit the classes in another order.

    The order is the one-to-one assignment of outputs to classes with the most right answers
    (scipy's `linear_sum_assignment`). What it gains is counted on samples that it was not chosen
    by, each half's by the other half: with few samples a class, some order fits chance well.

    Args:
        logits: The network's answers to the calib split, float32 [n, K].
        labels: int64 [n].
        names: Asked only when needed: for each label, what `classes` in ``[data]`` calls it.

    Returns:
        A warning when another order fits better but by no more than 0.2, or when the network is
        right no more often than chance (50 samples or more, three standard errors); else None.

    Raises:
        ConfigError: When another order raises the accuracy by more than 0.2 and by more than
            four standard errors, with the `classes` that fit.

    Example:
        >>> labels = np.tile(np.arange(3), 40)
        >>> check_output_order(np.eye(3, dtype=np.float32)[labels], labels, names=lambda: "bgr")
        >>> check_output_order(np.eye(3, dtype=np.float32)[2 - labels], labels,
        ...                    names=lambda: "bgr")
        Traceback (most recent call last):
        ...
        edgetl.errors.ConfigError: data.classes: got outputs that fit another order of the \
classes: 33.3 % of 120 calib samples are right as they are, 100.0 % in that order; expected the \
classes in the order of the network's outputs; to fix: write classes = ["r", "g", "b"] in [data]
    """
    answers = logits.argmax(axis=1)
    count, classes = logits.shape
    right = answers == labels
    accuracy = float(right.mean())
    gains = _held_out(answers, labels, classes).astype(float) - right
    gain, error = float(gains.mean()), float(gains.std()) / math.sqrt(count)
    if gain > 0 and gain > _STANDARD_ERRORS * error:
        order = _assignment(answers, labels, classes)
        better = float((order[answers] == labels).mean())
        named = names()
        wanted = json.dumps([named[at] for at in order], ensure_ascii=False)
        shares = (
            f"outputs that fit another order of the classes: {accuracy:.1%} of {count} calib "
            f"samples are right as they are, {better:.1%} in that order"
        ).replace("%", " %")
        if gain > _LEAST_GAIN:
            raise ConfigError(
                "data.classes",
                got=shares,
                expected="the classes in the order of the network's outputs",
                fix=f"write classes = {wanted} in [data]",
            )
        return f"warning: {shares}; if that is the network's order, write classes = {wanted}"
    chance = 1 / classes
    limit = chance + _CHANCE_ERRORS * math.sqrt(chance * (1 - chance) / count)
    if count >= _LEAST_SAMPLES and accuracy <= limit:
        return (
            f"warning: the network is right on {accuracy:.4f} of the calib samples, which chance "
            f"alone could give ({chance:.4f}): check its weights, the preprocessing in [input] "
            "and the order of the classes"
        )
    return None


def _held_out(answers: IntArray, labels: IntArray, classes: int) -> NDArray[np.bool_]:
    """Whether each answer is right in the order that the other half of the samples chose."""
    # Every second one of each class: halves with the same classes.
    by_class = np.argsort(labels, kind="stable")
    half = np.empty(len(labels), np.bool_)
    half[by_class] = np.arange(len(labels)) % 2 == 0
    right = np.empty(len(labels), np.bool_)
    for chosen in (half, ~half):
        order = _assignment(answers[~chosen], labels[~chosen], classes)
        right[chosen] = order[answers[chosen]] == labels[chosen]
    return right


def _assignment(answers: IntArray, labels: IntArray, classes: int) -> IntArray:
    """For each output the class that it stands for, int64 [K]; as it is where all are equal."""
    with extra("gate"):
        from scipy.optimize import linear_sum_assignment

    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (answers, labels), 1)
    # The diagonal's bonus decides between equal counts, and never outweighs one sample.
    _, order = linear_sum_assignment(
        confusion * (classes + 1) + np.eye(classes, dtype=np.int64), maximize=True
    )
    found: IntArray = order
    return found
