"""Epoch orders: whole, balanced, and the same again."""

from __future__ import annotations

import numpy as np

from edgetl.train.sampler import epoch_order

LABELS = np.repeat([0, 1, 3], [90, 9, 4])


def test_shuffle_takes_each_image_once_in_the_order_of_earlier_versions() -> None:
    order = epoch_order(LABELS, sampler="shuffle", seed=3, epoch=2)
    assert np.array_equal(order, np.random.default_rng([3, 2]).permutation(103))


def test_balanced_takes_each_class_as_often_and_no_image_twice_too_often() -> None:
    order = epoch_order(LABELS, sampler="balanced", seed=0, epoch=1)
    assert len(order) == 103
    counts = np.bincount(LABELS[order], minlength=4)
    assert counts[2] == 0 and sorted(counts[[0, 1, 3]]) == [34, 34, 35]
    times = np.bincount(order, minlength=103)
    assert times[:90].max() == 1
    for members in (times[90:99], times[99:]):
        assert members.max() - members.min() <= 1


def test_it_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> np.ndarray:
        return epoch_order(LABELS, sampler="balanced", seed=seed, epoch=epoch)

    assert np.array_equal(order(0, 1), order(0, 1))
    assert not np.array_equal(order(0, 1), order(0, 2))
    # Over epochs every image of the frequent class comes.
    seen = np.unique(np.concatenate([order(0, epoch) for epoch in range(1, 30)]))
    assert len(seen) == 103


def test_one_class_is_a_permutation() -> None:
    order = epoch_order(np.zeros(7, np.int64), sampler="balanced", seed=0, epoch=1)
    assert sorted(order.tolist()) == list(range(7))
