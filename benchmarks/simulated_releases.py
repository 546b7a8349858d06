"""Populations of images on which the true harm of a candidate is known exactly.

A population is finite, and a release's images are drawn from it with replacement, so that they
are independent and the population's own figures are the truth. Labels are drawn from the
probabilities that the honest logits give; a reference that is not calibrated answers with those
logits sharpened. A candidate is the reference disturbed in one of a few ways, as much as makes
one harm just what its limit is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from edgetl.calibration import fit_temperature
from edgetl.metrics import correct, flips, per_image_brier, per_image_nll, softmax, top1

Floats = NDArray[np.float64]
CLASSES = 10
# The noise that goes with sharper and softer answers: without any, a ratio of temperatures would
# be the same in every release, and on the margin a matter of rounding.
_LITTLE = 0.15
_UNEVEN = {"uneven noise": 0.5, "very uneven noise": 1.2}
SLICE_SHARE = 0.3

# How far the true class stands out on average, how much that varies, and how sharp the answers
# are against honest ones.
REFERENCES: Mapping[str, tuple[float, float, float]] = {
    "63 %, overconfident": (3.2, 2.0, 1.7),
    "86 %, calibrated": (6.0, 2.5, 1.0),
    "98 %, calibrated": (9.5, 2.5, 1.0),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """A reference on its images.

    Attributes:
        name: One of `REFERENCES`.
        logits: Of the reference, float64 [N, 10].
        probabilities: Of the reference.
        labels: int64 [N].
        in_slice: bool [N], of the slice that may be harmed on its own.
    """

    name: str
    logits: Floats
    probabilities: Floats
    labels: NDArray[np.int64]
    in_slice: NDArray[np.bool_]


def population(name: str, size: int, seed: int = 0) -> Population:
    """One of the references, on `size` images."""
    location, spread, sharpness = REFERENCES[name]
    random = np.random.default_rng([seed, 1])
    honest = random.normal(size=(size, CLASSES))
    chosen = random.integers(0, CLASSES, size)
    honest[np.arange(size), chosen] += random.normal(location, spread, size)
    draws = random.random((size, 1))
    labels = np.minimum((softmax(honest).cumsum(axis=1) < draws).sum(axis=1), CLASSES - 1)
    return Population(
        name=name,
        logits=sharpness * honest,
        probabilities=softmax(sharpness * honest),
        labels=labels,
        in_slice=random.random(size) < SLICE_SHARE,
    )


def disturbed(base: Population, kind: str, strength: float, seed: int = 0) -> Floats:
    """The logits of a candidate.

    Args:
        base: Its reference.
        kind: "noise" on all images alike; "uneven noise" and "very uneven noise", more on some
            images than on others, as a lognormal factor with the logarithm's spread of 0.5 and
            1.2 says; "sharper" and "softer"; "broken images", a share of them answered like
            another image.
        strength: Of the disturbance; at 0 next to nothing of it is left.
        seed: Of the noise.
    """
    logits, random = base.logits, np.random.default_rng([seed, 2])
    if kind == "noise":
        return logits + strength * random.normal(size=logits.shape)
    if kind in _UNEVEN:
        uneven = np.exp(_UNEVEN[kind] * random.normal(size=(len(logits), 1)))
        return logits + strength * uneven * random.normal(size=logits.shape)
    if kind in ("sharper", "softer"):
        factor = 1 + strength if kind == "sharper" else 1 / (1 + strength)
        return factor * (logits + _LITTLE * random.normal(size=logits.shape))
    if kind == "broken images":
        broken = random.random((len(logits), 1)) < strength
        return np.where(broken, logits[random.permutation(len(logits))], logits)
    raise ValueError(kind)


def true_harm(gate: str, base: Population, candidate: Floats) -> float:
    """The harm of a candidate in the whole population, with its sign.

    Args:
        gate: The gate's name.
        base: The population.
        candidate: Probabilities, float64 [N, 10].
    """
    reference, labels = base.probabilities, base.labels
    if gate == "top1_drop":
        return top1(reference, labels) - top1(candidate, labels)
    if gate == "nll":
        return _mean(per_image_nll(candidate, labels) - per_image_nll(reference, labels))
    if gate == "brier":
        return _mean(per_image_brier(candidate, labels) - per_image_brier(reference, labels))
    if gate == "confidence_gap":
        return _mean(_surplus(candidate, labels) - _surplus(reference, labels))
    if gate == "log_temperature_ratio":
        return _log_temperature(candidate, labels) - _log_temperature(reference, labels)
    if gate == "flips":
        return flips(reference, candidate) / len(labels)
    lost = correct(reference, labels).astype(float) - correct(candidate, labels)
    if gate == "worst_class":
        return max(_mean(lost[labels == label]) for label in range(CLASSES))
    if gate == "slice":
        return _mean(lost[base.in_slice])
    raise ValueError(gate)


def on_the_margin(
    gate: str, base: Population, kind: str, limit: float
) -> tuple[Floats, float, float] | None:
    """A candidate whose harm is the limit, or minus it for one that is softer.

    Only class 0 is disturbed for `worst_class`, and only the slice for `slice`.

    Returns:
        Its probabilities, its strength, and its true harm, which is the limit up to what one
        image of the population counts; None where no strength harms so much.
    """
    where = {"worst_class": base.labels == 0, "slice": base.in_slice}.get(gate)
    wanted = -limit if kind == "softer" else limit

    def candidate(strength: float) -> Floats:
        logits = disturbed(base, kind, strength)
        if where is not None:
            logits = np.where(where[:, None], logits, base.logits)
        return softmax(logits)

    def excess(strength: float) -> float:
        return true_harm(gate, base, candidate(strength)) - wanted

    most = 1.0 if kind == "broken images" else 6.0
    if (excess(most) > 0) == (wanted < 0):
        return None
    strength = float(brentq(excess, 0.0, most, xtol=1e-6, rtol=1e-6))
    found = candidate(strength)
    return found, strength, true_harm(gate, base, found)


def equal_pair(base: Population, flip_rate: float) -> tuple[Population, Floats]:
    """A reference and a candidate that are truly equal, and differ by as much noise.

    Both disturb the same honest logits, and each image is there twice, with the two sides
    swapped: every difference is exactly 0 in the population.

    Returns:
        The population with the doubled images, and the candidate's probabilities.
    """

    def sides(strength: float) -> tuple[Floats, Floats]:
        return disturbed(base, "noise", strength, 3), disturbed(base, "noise", strength, 4)

    def excess(strength: float) -> float:
        first, second = sides(strength)
        return float((first.argmax(axis=1) != second.argmax(axis=1)).mean()) - flip_rate

    first, second = sides(float(brentq(excess, 0.0, 6.0, xtol=1e-4)))
    doubled = Population(
        name=base.name,
        logits=np.concatenate([first, second]),
        probabilities=softmax(np.concatenate([first, second])),
        labels=np.concatenate([base.labels, base.labels]),
        in_slice=np.concatenate([base.in_slice, base.in_slice]),
    )
    return doubled, softmax(np.concatenate([second, first]))


def _mean(values: Floats) -> float:
    return float(values.mean())


def _surplus(probabilities: Floats, labels: NDArray[np.int64]) -> Floats:
    surplus: Floats = probabilities.max(axis=1) - correct(probabilities, labels)
    return surplus


def _log_temperature(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    return float(np.log(fit_temperature(np.log(np.maximum(probabilities, 1e-12)), labels)))
