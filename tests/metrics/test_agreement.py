from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.spatial
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetl.errors import DataError
from edgetl.metrics import (
    flips,
    js,
    kl,
    negative_flips,
    paired_counts,
    softmax,
    top1,
    topk_overlap,
    tv,
)


def test_flips_counts_changed_answers(predict):
    reference, _ = predict(seed=0)
    candidate, _ = predict(seed=1)
    expected = sum(
        int(np.argmax(p)) != int(np.argmax(q)) for p, q in zip(reference, candidate, strict=True)
    )
    assert flips(reference, candidate) == expected
    assert flips(reference, reference) == 0


def test_kl_agrees_with_scipy_and_is_not_symmetric(predict):
    reference, _ = predict(seed=0)
    candidate, _ = predict(seed=1)
    expected = scipy.stats.entropy(reference, candidate, axis=1).mean()
    assert kl(reference, candidate) == pytest.approx(expected, rel=1e-9)
    assert kl(reference, reference) == 0.0
    assert kl(candidate, reference) != pytest.approx(expected)


def test_kl_with_zeros_is_finite():
    assert kl([[1.0, 0.0]], [[0.0, 1.0]]) == pytest.approx(-np.log(1e-12))
    assert kl([[0.0, 1.0]], [[0.5, 0.5]]) == pytest.approx(np.log(2))


def test_tv_agrees_with_scipy(predict):
    reference, _ = predict(seed=0)
    candidate, _ = predict(seed=1)
    pairs = zip(reference, candidate, strict=True)
    expected = np.mean([scipy.spatial.distance.cityblock(p, q) / 2 for p, q in pairs])
    assert tv(reference, candidate) == pytest.approx(expected, rel=1e-12)
    assert tv(reference, reference) == 0.0
    assert tv([[1.0, 0.0]], [[0.0, 1.0]]) == 1.0


def test_js_agrees_with_scipy(predict):
    reference, _ = predict(seed=0)
    candidate, _ = predict(seed=1)
    distance = scipy.spatial.distance.jensenshannon(reference, candidate, axis=1)
    assert js(reference, candidate) == pytest.approx(np.square(distance).mean(), rel=1e-12)
    assert js(candidate, reference) == pytest.approx(js(reference, candidate), rel=1e-14)


def test_js_has_exact_ends():
    assert js([[1.0, 0.0]], [[0.0, 1.0]]) == pytest.approx(math.log(2), rel=1e-15)
    assert js([[0.3, 0.7]], [[0.3, 0.7]]) == 0.0
    assert js([[1.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]]) == 0.0
    # The least float64 there is: its half is 0.
    assert js([[5e-324, 1.0]], [[0.0, 1.0]]) == 0.0


def test_js_of_answers_that_nearly_agree_is_not_negative():
    random = np.random.default_rng(0)
    p = softmax(random.normal(size=(2000, 5)))
    q = p * (1 + random.normal(0, 1e-12, p.shape))
    assert 0.0 <= js(p, q) < 1e-15


@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_divergences_bound_each_other(seed, classes):
    random = np.random.default_rng(seed)
    p, q = softmax(random.normal(0, 3, (2, 1, classes)).reshape(2, classes))[:, None]
    assert tv(p, q) ** 2 <= kl(p, q) / 2 + 1e-9  # Pinsker
    assert js(p, q) <= tv(p, q) * math.log(2) + 1e-12  # Lin 1991
    assert tv(p, q) <= math.sqrt(2 * js(p, q)) + 1e-9


def top_names(row, k):
    return set(sorted(range(len(row)), key=lambda index: (-row[index], index))[:k])


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_topk_overlap_counts_shared_names(predict, k, coarse):
    reference, _ = predict(seed=0, n=300)
    candidate, _ = predict(seed=1, n=300)
    if coarse:  # mostly ties
        reference, candidate = (np.round(3 * side) + 1e-3 for side in (reference, candidate))
        reference, candidate = (side / side.sum(1)[:, None] for side in (reference, candidate))
    expected = np.mean(
        [
            len(top_names(p, k) & top_names(q, k)) / k
            for p, q in zip(reference, candidate, strict=True)
        ]
    )
    assert topk_overlap(reference, candidate, k) == pytest.approx(expected, abs=1e-15)
    assert topk_overlap(reference, reference, k) == 1.0
    if k == 1:
        kept = 300 - flips(reference, candidate)
        assert topk_overlap(reference, candidate, 1) == kept / 300


@pytest.mark.parametrize("k", [0, 3, 1.5])
def test_an_overlap_of_more_classes_than_there_are_is_refused(k):
    with pytest.raises(DataError, match="k: "):
        topk_overlap([[0.5, 0.5]], [[0.5, 0.5]], k)


def test_negative_flips_are_what_the_candidate_loses(predict):
    reference, labels = predict(seed=0)
    candidate, _ = predict(seed=1)
    expected = sum(
        int(np.argmax(p)) == label and int(np.argmax(q)) != label
        for p, q, label in zip(reference, candidate, labels.tolist(), strict=True)
    )
    assert negative_flips(reference, candidate, labels) == expected > 0
    assert negative_flips(reference, reference, labels) == 0
    assert negative_flips(reference, candidate, labels) <= flips(reference, candidate)


def test_paired_counts_of_a_table_by_hand():
    right, wrong = [0.9, 0.1], [0.1, 0.9]
    reference = [right] * 5 + [wrong] * 2 + [right] * 3 + [wrong]
    candidate = [right] * 5 + [right] * 2 + [wrong] * 3 + [wrong]
    assert paired_counts(reference, candidate, [0] * 11) == (5, 2, 3, 1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 6))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_accuracy_changes_by_no_more_than_the_flip_rate(seed, n, classes):
    random = np.random.default_rng(seed)
    reference = softmax(random.normal(size=(n, classes)))
    candidate = softmax(np.log(reference) + random.normal(0, 0.5, (n, classes)))
    labels = random.integers(0, classes, n)
    both, b, c, neither = paired_counts(reference, candidate, labels)
    assert both + b + c + neither == n
    change = top1(candidate, labels) - top1(reference, labels)
    assert change == pytest.approx((b - c) / n)
    assert abs(change) <= flips(reference, candidate) / n + 1e-12


def test_other_images_or_classes_are_refused(predict):
    reference, labels = predict(n=10)
    with pytest.raises(DataError, match=r"expected \[10, 7\]"):
        flips(reference, reference[:9])
    with pytest.raises(DataError, match="candidate"):
        kl(reference, np.full((10, 2), 0.5))
    for metric in (paired_counts, negative_flips):
        with pytest.raises(DataError, match="labels"):
            metric(reference, reference, labels[:9])


def test_nan_on_either_side_is_refused(predict):
    good, labels = predict(n=10)
    bad = good.copy()
    bad[2, 0] = np.nan

    def names(reference, candidate):
        return topk_overlap(reference, candidate, 2)

    def lost(reference, candidate):
        return negative_flips(reference, candidate, labels)

    for metric in (flips, kl, tv, js, names, lost):
        with pytest.raises(DataError, match=r"of the reference: .* row 2"):
            metric(bad, good)
        with pytest.raises(DataError, match=r"of the candidate: .* row 2"):
            metric(good, bad)
