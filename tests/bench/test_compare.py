from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.weightstats import DescrStatsW

from edgetl.bench.compare import Pair, Ratio, precise_to, ratio
from edgetl.errors import GateError


def _sides(truth: float, rounds: int = 24, seed: int = 0, drift: float = 0.0):
    random = np.random.default_rng(seed)
    shared = np.exp(drift * random.normal(size=(rounds, 1)))
    one = 0.001 * shared * np.exp(random.normal(0, 0.05, (rounds, 40)))
    other = 0.001 * truth * shared * np.exp(random.normal(0, 0.05, (rounds, 40)))
    return other, one


def _walsh(values: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """Hodges and Lehmann's interval from the definition: every mean of two, and the distribution
    of the signed rank sum by listing its subsets' sums."""
    n = len(values)
    means = np.sort([(values[i] + values[j]) / 2 for i in range(n) for j in range(i, n)])
    sums = np.array([1.0])
    for rank in range(1, n + 1):
        sums = np.convolve(sums, np.eye(1, rank + 1)[0] + np.eye(1, rank + 1, rank)[0]) / 2
    outside = int((np.cumsum(sums) <= (1 - confidence) / 2).sum())
    return float(np.median(means)), float(means[outside - 1]), float(means[-outside])


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize("quantile", [0.5, 0.9])
def test_the_ratio_is_hodges_and_lehmanns_interval_on_logs_of_blocks(confidence, quantile):
    other, one = _sides(0.7)
    logs = np.log(np.quantile(other, quantile, axis=1) / np.quantile(one, quantile, axis=1))
    found = ratio(other, one, confidence, quantile=quantile)
    assert (found.estimate, found.lower, found.upper) == pytest.approx(
        tuple(np.exp(_walsh(logs, confidence)))
    )


def test_few_rounds_have_a_t_interval():
    other, one = _sides(0.7, rounds=5)
    logs = np.log(np.median(other, axis=1) / np.median(one, axis=1))
    low, high = DescrStatsW(logs).tconfint_mean(alpha=0.05)
    found = ratio(other, one)
    assert (found.estimate, found.lower, found.upper) == pytest.approx(
        tuple(np.exp([logs.mean(), low, high]))
    )


def test_a_round_that_was_held_up_widens_the_interval_a_little():
    other, one = _sides(0.7)
    calm = ratio(other, one)
    other[3] *= 50
    held = ratio(other, one)
    assert held.upper / held.lower < 1.2 * calm.upper / calm.lower
    assert held.estimate == pytest.approx(calm.estimate, rel=0.01)


@pytest.mark.parametrize(
    ("lower", "upper", "outcome"),
    [
        (0.97, 1.04, "PASS"),
        (1.06, 1.09, "FAIL"),
        (1.02, 1.07, "INCONCLUSIVE"),
        (0.97, 1.05, "INCONCLUSIVE"),
        (1.05, 1.09, "INCONCLUSIVE"),
        (float("nan"), float("nan"), "INCONCLUSIVE"),
    ],
)
def test_an_outcome_needs_the_whole_interval(lower, upper, outcome):
    assert Ratio(estimate=1.0, lower=lower, upper=upper).outcome(0.05) == outcome


def test_what_slows_a_whole_round_does_not_widen_the_interval():
    calm, shaken = ratio(*_sides(0.7)), ratio(*_sides(0.7, drift=0.5))
    assert shaken.upper / shaken.lower < 1.2 * calm.upper / calm.lower


def test_the_interval_covers_the_truth_as_often_as_it_says():
    hits = 0
    for seed in range(200):
        found = ratio(*_sides(0.9, rounds=12, seed=seed), confidence=0.9)
        hits += found.lower <= 0.9 <= found.upper
    assert 167 <= hits <= 192  # binomial(200, 0.9), 0.1 % at either side


def test_the_inverse_is_a_speed_up():
    assert Ratio(estimate=0.5, lower=0.4, upper=0.8).inverse() == Ratio(
        estimate=2.0, lower=1.25, upper=2.5
    )


def test_equivalence_needs_the_whole_interval():
    assert Ratio(estimate=1.0, lower=0.97, upper=1.03).within(0.05)
    assert not Ratio(estimate=1.0, lower=0.97, upper=1.06).within(0.05)
    assert not Ratio(estimate=1.0, lower=0.95, upper=1.03).within(0.05)
    assert not Ratio(estimate=1.0, lower=float("nan"), upper=1.0).within(0.05)


def test_precision_looks_at_width_only():
    other, one = _sides(0.3)
    enough = precise_to("reference", 0.025)
    assert enough({"reference": one, "x": other})
    assert not enough({"reference": one[:2], "x": other[:2]})
    assert enough({"reference": one})


@pytest.mark.parametrize("rows", [(24, 23), (1, 1)])
def test_sides_of_other_rounds_are_not_compared(rows):
    other, one = _sides(1.0)
    with pytest.raises(GateError):
        ratio(other[: rows[0]], one[: rows[1]])


def test_a_pair_knows_its_rounds():
    other, one = _sides(0.5)
    pair = Pair(name="x", against="r", seconds=other, against_seconds=one, batch=1, threads=2)
    assert pair.rounds == 24
    assert pair.ratio() == ratio(other, one)
    assert np.exp(np.median(pair.log_ratios())) == pytest.approx(pair.ratio().estimate, rel=0.01)
    assert pair.ratio(quantile=0.9) == ratio(other, one, quantile=0.9)
