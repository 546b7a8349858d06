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


def test_the_ratio_is_a_t_interval_on_logs_of_block_medians():
    other, one = _sides(0.7)
    logs = np.log(np.median(other, axis=1) / np.median(one, axis=1))
    low, high = DescrStatsW(logs).tconfint_mean(alpha=0.1)
    found = ratio(other, one, confidence=0.9)
    assert (found.estimate, found.lower, found.upper) == pytest.approx(
        tuple(np.exp([logs.mean(), low, high]))
    )


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
    assert np.exp(pair.log_ratios().mean()) == pytest.approx(pair.ratio().estimate)
