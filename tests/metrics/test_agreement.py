from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetl.errors import DataError
from edgetl.metrics import flips, kl, paired_counts, softmax, top1


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
    with pytest.raises(DataError, match="labels"):
        paired_counts(reference, reference, labels[:9])


def test_nan_on_either_side_is_refused(predict):
    good, _ = predict(n=10)
    bad = good.copy()
    bad[2, 0] = np.nan
    with pytest.raises(DataError, match="reference"):
        flips(bad, good)
    with pytest.raises(DataError, match="candidate"):
        kl(good, bad)
