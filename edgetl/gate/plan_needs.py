"""What each gate's chance to pass is, for a candidate that is as good as its reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgetl.calibration import log_temperature_ratio
from edgetl.gate.align import Aligned
from edgetl.gate.harms import FLOOR
from edgetl.gate.policy import Policy
from edgetl.gate.subgroups import slice_drops
from edgetl.metrics import correct, per_image_brier, per_image_nll
from edgetl.stats import ResampledPower, mean_power, rate_power, tango_power
from edgetl.stats.mean import moments


@dataclass(frozen=True, kw_only=True)
class Need:
    """A gate to be planned.

    Attributes:
        name, limit: As in a verdict.
        assumed: What is assumed of the candidate, in words.
        power: n images -> the probability that a candidate of which this is true passes.
        hopeless: Why no number of images is enough; empty where one may be.
    """

    name: str
    limit: float
    assumed: str
    power: Callable[[int], float]
    hopeless: str = ""


def drop(policy: Policy, discordance: float) -> Need:
    """Top-1, by the exact power of Tango's bound."""
    limit, alpha = policy.max_accuracy_drop, policy.alpha
    return Need(
        name="top1_drop",
        limit=limit,
        assumed=f"discordance {discordance:.4g}",
        power=lambda n: tango_power(n, 0.0, discordance, limit, alpha),
    )


def flip_rate(policy: Policy, rate: float) -> Need:
    """Flips, by the exact power of Clopper and Pearson's bound."""
    limit, alpha = policy.max_flip_rate, policy.alpha
    return Need(
        name="flips",
        limit=limit,
        assumed=f"flip rate {rate:.4g}",
        power=lambda n: rate_power(n, rate, limit, alpha),
        hopeless="" if rate < limit else "the expected flip rate is not under the limit",
    )


def means(data: Aligned, policy: Policy) -> Iterator[Need]:
    """The gates on a mean: what one image adds, its spread and skewness."""
    labels = data.labels
    nll = per_image_nll(data.candidate, labels) - per_image_nll(data.reference, labels)
    brier = per_image_brier(data.candidate, labels) - per_image_brier(data.reference, labels)
    gap = _surplus(data.candidate, labels) - _surplus(data.reference, labels)
    alpha = policy.alpha
    yield _mean("nll", nll, policy.max_nll_increase, alpha, both=False)
    yield _mean("brier", brier, policy.max_brier_increase, alpha, both=False)
    yield _mean("confidence_gap", gap, policy.max_confidence_gap, alpha, both=True)


def _surplus(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    surplus: NDArray[np.float64] = probabilities.max(axis=1) - correct(probabilities, labels)
    return surplus


def _mean(
    name: str, values: NDArray[np.float64], limit: float, alpha: float, *, both: bool
) -> Need:
    found = moments(values)

    resampled = ResampledPower(values, limit, alpha, mean=0.0, both=both)

    def power(n: int) -> float:
        if n < 2:
            return 0.0
        formula = mean_power(n, found.sd, found.skewness, 0.0, limit, alpha)
        if both:
            # Two one-sided tests: both have to pass.
            formula += mean_power(n, found.sd, -found.skewness, 0.0, limit, alpha) - 1
        # Where flips carry the spread the formula promises too much; where samples are too small
        # to hold any, drawing them does.
        return max(0.0, min(formula, resampled(n)))

    return Need(
        name=name,
        limit=limit,
        assumed=f"spread {found.sd:.3g}, skewness {found.skewness:.2g}",
        power=power,
    )


def temperature(data: Aligned, policy: Policy) -> Need | None:
    """The ratio of temperatures, by its influence functions; None where the pilot has none."""
    reference, candidate = (
        np.log(np.maximum(side, FLOOR)) for side in (data.reference, data.candidate)
    )
    found = log_temperature_ratio(reference, candidate, data.labels)
    if found.at_bound:
        return None
    limit = policy.max_log_temperature_ratio
    return _mean("log_temperature_ratio", found.values, limit, policy.alpha, both=True)


def worst_class(
    policy: Policy, discordance: float, shares: Mapping[float, int], assumed: str
) -> Need:
    """Every class has to pass, and no two share an image: their probabilities multiply."""
    limit = policy.max_worst_class_drop
    assert limit is not None
    return Need(
        name="worst_class",
        limit=limit,
        assumed=assumed,
        power=lambda n: math.prod(
            _share_power(n, share, discordance, limit, policy.alpha) ** count
            for share, count in shares.items()
        ),
    )


def slice_needs(data: Aligned, policy: Policy, discordance: float) -> Iterator[Need]:
    """Every slice that the policy names, with the pilot's share of it."""
    for harm in slice_drops(data, policy):
        share = harm.n / len(data.labels)
        yield Need(
            name=harm.name,
            limit=harm.limit,
            assumed=f"{share:.2g} of all images",
            power=partial(
                _share_power,
                share=share,
                discordance=discordance,
                limit=harm.limit,
                alpha=policy.alpha,
            ),
        )


def _share_power(n: int, share: float, discordance: float, limit: float, alpha: float) -> float:
    # A share of 1/K times a multiple of K is not always whole.
    images = math.floor(n * share + 1e-9)
    return tango_power(images, 0.0, discordance, limit, alpha) if images else 0.0
