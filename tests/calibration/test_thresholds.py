from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetl.calibration.thresholds import GRID, KeptThresholds, transfer_thresholds
from edgetl.errors import DataError
from edgetl.metrics import softmax


def pair(seed: int, n: int, noise: float = 0.25, classes: int = 5):
    """A reference and a variant whose logits differ by noise and a temperature, with labels."""
    random = np.random.default_rng(seed)
    honest = random.normal(0.0, 3.0, (n, classes))
    labels = (softmax(honest).cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    noisy = honest + random.normal(0.0, noise, honest.shape)
    return softmax(honest), softmax(1.2 * noisy), np.minimum(labels, classes - 1)


def intervals(columns: KeptThresholds):
    return list(zip(columns.low, columns.threshold, columns.high, strict=True))


def test_the_reference_keeps_its_own_thresholds():
    reference, _, labels = pair(0, 700)
    table = transfer_thresholds(reference, reference, labels)
    assert table.reference == GRID
    for columns in (table.acceptance, table.precision):
        np.testing.assert_allclose(columns.threshold, GRID, rtol=0, atol=1e-9)
        for low, threshold, high in intervals(columns):
            assert low <= threshold <= high


@pytest.mark.parametrize("seed", range(5))
def test_as_many_images_are_accepted(seed: int):
    reference, variant, labels = pair(seed, 400)
    table = transfer_thresholds(reference, variant, labels)
    for threshold, own, count in zip(GRID, table.acceptance.threshold, table.accepted, strict=True):
        assert (reference.max(axis=1) >= threshold).sum() == count
        assert (variant.max(axis=1) >= own).sum() == count


def test_ties_miss_the_rate_by_no_more_than_a_tie():
    reference, variant, labels = pair(3, 600)
    # As the coarse logits of an INT8 model: no threshold lies inside a tie.
    coarse = softmax(np.round(np.log(variant)))
    coarse /= coarse.sum(axis=1, keepdims=True)
    table = transfer_thresholds(reference, coarse, labels)
    confidences = coarse.max(axis=1)
    largest = np.unique(confidences, return_counts=True)[1].max()
    assert largest > 1
    for own, count in zip(table.acceptance.threshold, table.accepted, strict=True):
        assert abs((confidences >= own).sum() - count) <= largest


@pytest.mark.parametrize("tie", np.float32([0.9998, 0.9991, 0.97, 0.95]))
def test_a_threshold_at_a_tie_accepts_it(tie: np.float32):
    top = np.sort(np.random.default_rng(0).uniform(0.5, 1.0, 1000))[::-1]
    saturated = np.where(np.arange(1000) < 600, float(tie), 0.9 * np.minimum(top, 0.9))
    reference, variant = (np.stack([one, 1 - one], axis=1) for one in (top, saturated))
    table = transfer_thresholds(reference, variant, np.zeros(1000, np.int64), grid=(0.72,))
    assert table.accepted == (583,)
    # Rounded to fewer digits than a float32 has, it may lie above all 600.
    assert (saturated >= table.acceptance.threshold[0]).sum() == 600


@pytest.mark.parametrize("threshold", [0.55, 0.8, 0.97])
def test_the_rate_interval_is_that_of_scipys_test_at_every_threshold(threshold: float):
    reference, variant, labels = pair(1, 300)
    table = transfer_thresholds(reference, variant, labels, grid=(threshold,))
    kept = reference.max(axis=1) >= threshold
    own = np.sort(variant.max(axis=1))
    allowed = []
    for below, above in pairwise([0.0, *own, 1.0]):
        other = variant.max(axis=1) >= (below + above) / 2
        gained, lost = int((other & ~kept).sum()), int((kept & ~other).sum())
        told_apart = gained + lost and scipy.stats.binomtest(gained, gained + lost).pvalue <= 0.05
        if not told_apart:
            allowed += [below, above]
    np.testing.assert_allclose(
        [table.acceptance.low[0], table.acceptance.high[0]], [min(allowed), max(allowed)], atol=1e-9
    )


def test_a_distorted_reference_gets_the_distorted_thresholds():
    reference, _, labels = pair(2, 4000, classes=2)
    logit = np.log(reference[:, 1] / reference[:, 0])
    sharper = softmax(np.stack([np.zeros_like(logit), 2 * logit], axis=1))
    table = transfer_thresholds(reference, sharper, labels)
    expected = [1 / (1 + math.exp(-2 * math.log(t / (1 - t)))) for t in GRID]
    np.testing.assert_allclose(table.acceptance.threshold, expected, atol=0.005)
    np.testing.assert_allclose(table.precision.threshold, expected, atol=0.005)
    inside = [
        low <= one <= high
        for one, (low, _, high) in zip(expected, intervals(table.precision), strict=True)
    ]
    assert all(inside)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """The truth is read off many more images; 200 releases of 500, at 0.7 and 0.9."""
    at = [GRID.index(0.7), GRID.index(0.9)]
    truth = transfer_thresholds(*pair(99, 60_000))
    held = np.zeros((2, 2))
    for seed in range(200):
        table = transfer_thresholds(*pair(seed, 500), grid=(0.6, 0.65, 0.7, 0.75, 0.85, 0.9, 0.95))
        for row, (columns, true) in enumerate(
            ((table.acceptance, truth.acceptance), (table.precision, truth.precision))
        ):
            for column, own in enumerate((2, 5)):
                low, _, high = intervals(columns)[own]
                held[row, column] += low <= true.threshold[at[column]] <= high
    # 95 % less three standard errors of 200 trials.
    assert (held / 200 >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 200)).all(), held


@given(st.integers(0, 10_000), st.integers(2, 60), st.sampled_from([2, 3, 10]), st.floats(0.0, 3.0))
@settings(max_examples=40, deadline=None)
def test_every_table_is_one_that_a_bundle_may_hold(seed: int, n: int, classes: int, noise: float):
    from edgetl.bundle.fields import Node
    from edgetl.bundle.tables import read_thresholds
    from edgetl.files import canonical_json, parse_json

    table = transfer_thresholds(*pair(seed, n, noise, classes))
    written = parse_json(canonical_json(table.to_json()), "table")
    read = read_thresholds(Node(written, "thresholds"))
    assert (read.n, read.reference) == (n, GRID)
    assert intervals(read.precision) == intervals(table.precision)


def test_saturated_confidences_are_no_trouble():
    sure = np.repeat([[1.0, 0.0]], 50, axis=0)
    table = transfer_thresholds(sure, sure, np.zeros(50, int))
    np.testing.assert_allclose(table.acceptance.threshold, GRID)
    assert table.accepted == (50,) * len(GRID)


def test_where_the_reference_accepts_nothing_there_is_no_precision_to_keep():
    timid = np.repeat([[0.6, 0.4]], 40, axis=0)
    table = transfer_thresholds(timid, timid, np.zeros(40, int), grid=(0.55, 0.7))
    assert table.accepted == (40, 0)
    assert table.precision.threshold[1] is None and table.precision.low[1] is None
    assert table.acceptance.threshold[1] == pytest.approx(0.7)


def test_a_variant_that_is_never_as_precise_has_no_threshold_for_it():
    sure = np.repeat([[0.9, 0.1]], 40, axis=0)
    table = transfer_thresholds(sure, sure[:, ::-1], np.zeros(40, int))
    assert set(table.precision.threshold) == {None}
    assert None not in table.acceptance.threshold


@pytest.mark.parametrize(
    "grid",
    [(), (0.5, 0.5), (0.9, 0.8), (0.0, 0.5), (0.5, 1.0), (math.nan,), (0.5, math.nan)],
)
def test_a_wrong_grid_is_refused(grid: tuple[float, ...]):
    with pytest.raises(DataError, match="grid"):
        transfer_thresholds(*pair(0, 20), grid=grid)


def test_other_images_are_refused():
    reference, variant, labels = pair(0, 20)
    with pytest.raises(DataError, match="same images"):
        transfer_thresholds(reference, variant[:-1], labels)
    with pytest.raises(DataError):
        transfer_thresholds(reference, variant, labels[:-1])
    with pytest.raises(DataError, match="confidence"):
        transfer_thresholds(reference, variant, labels, confidence=math.nan)
    variant[3, 1] = math.nan
    with pytest.raises(DataError):
        transfer_thresholds(reference, variant, labels)
