from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial
import torch
from torchmetrics.functional.audio import signal_noise_ratio

from edgetl.errors import DataError
from edgetl.metrics import logit_cosine, logit_sqnr_db


@pytest.fixture
def logits():
    random = np.random.default_rng(0)
    reference = random.normal(0, 4, (300, 9))
    return reference, reference + random.normal(0, 0.1, reference.shape)


def test_sqnr_agrees_with_torchmetrics(logits):
    reference, candidate = logits
    expected = signal_noise_ratio(torch.tensor(candidate), torch.tensor(reference)).mean()
    assert logit_sqnr_db(reference, candidate) == pytest.approx(float(expected), abs=1e-9)


def test_cosine_agrees_with_scipy(logits):
    pairs = zip(*logits, strict=True)
    expected = np.mean([1 - scipy.spatial.distance.cosine(z, y) for z, y in pairs])
    assert logit_cosine(*logits) == pytest.approx(expected, abs=1e-12)


def test_ten_times_the_noise_is_20_db_less(logits):
    reference, candidate = logits
    noisier = reference + 10 * (candidate - reference)
    lost = logit_sqnr_db(reference, candidate) - logit_sqnr_db(reference, noisier)
    assert lost == pytest.approx(20)


def test_one_row_answered_alike_does_not_hide_the_others():
    reference = np.array([[3.0, 4.0], [1.0, 2.0]])
    candidate = np.array([[3.0, 4.5], [1.0, 2.0]])
    assert logit_sqnr_db(reference, candidate) == pytest.approx((20 + 300) / 2)


@pytest.mark.parametrize(
    ("reference", "candidate", "decibels", "cosine"),
    [
        ([2.0, 1.0], [2.0, 1.0], 300.0, 1.0),
        ([0.0, 0.0], [0.0, 0.0], 300.0, 1.0),
        ([0.0, 0.0], [1.0, 0.0], -300.0, 0.0),
        ([1.0, 0.0], [0.0, 0.0], 0.0, 0.0),
        ([1.0, 0.0], [-1.0, 0.0], -20 * np.log10(2), -1.0),
        ([1e308, -1e308], [-1e308, 1e308], -20 * np.log10(2), -1.0),
        ([5e-324, 0.0], [5e-324, 0.0], 300.0, 1.0),
        ([1e-310, 0.0], [1e300, 0.0], -300.0, 1.0),
        ([1e200, 1e-200], [1e-200, 1e200], -10 * np.log10(2), 0.0),
    ],
)
def test_extremes_have_their_answers(reference, candidate, decibels, cosine):
    assert logit_sqnr_db([reference], [candidate]) == pytest.approx(decibels, abs=1e-9)
    assert logit_cosine([reference], [candidate]) == pytest.approx(cosine, abs=1e-12)


def test_cosine_does_not_see_scale_and_sqnr_does(logits):
    reference, _ = logits
    assert logit_cosine(reference, 2 * reference) == pytest.approx(1.0, abs=1e-15)
    assert logit_sqnr_db(reference, 2 * reference) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("metric", [logit_sqnr_db, logit_cosine])
def test_logits_that_do_not_fit_or_are_nan_are_refused(metric):
    good = np.ones((4, 3))
    with pytest.raises(DataError, match=r"logits of the candidate: .*\[4, 2\]"):
        metric(good, good[:, :2])
    with pytest.raises(DataError, match="int64"):
        metric(np.ones((4, 3), int), good)
    for value in (np.nan, np.inf):
        bad = good.copy()
        bad[2, 1] = value
        with pytest.raises(DataError, match=r"logits of the reference: .* row 2"):
            metric(bad, good)
        with pytest.raises(DataError, match=r"logits of the candidate: .* row 2"):
            metric(good, bad)
