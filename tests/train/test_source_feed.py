"""Every source is shuffled, cycles, and has an order of its own."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from edgetl.data.store import SplitPart
from edgetl.errors import DataError
from edgetl.spec import TensorInput
from edgetl.train.feed import SourceData
from edgetl.train.source_feed import SourceFeed, source_feeds

SPEC = TensorInput(shape=(2,))


def _source(n: int, *, classes: int = 2, batch_size: int | None = None) -> SourceData:
    images = np.stack([np.arange(n), np.arange(n)], 1).astype(np.float32)
    part = SplitPart(ids=tuple(map(str, range(n))), labels=np.arange(n) % classes, images=images)
    return SourceData(part, tuple("abcd")[:classes], batch_size)


def _seen(feed: SourceFeed, steps: int, **key: int) -> list[list[int]]:
    values = {"seed": 0, "epoch": 1, "rank": 0, "processes": 1, **key}
    batches = itertools.islice(feed.steps(**values), steps)
    return [inputs[:, 0].int().tolist() for inputs, _ in batches]


def test_it_cycles_through_all_of_the_source_in_a_new_order_each_time() -> None:
    (feed,) = source_feeds([_source(10)], SPEC, batch_size=4)
    seen = list(itertools.chain(*_seen(feed, 5)))
    assert Counter(seen) == dict.fromkeys(range(10), 2)
    assert sorted(seen[:10]) == sorted(seen[10:]) and seen[:10] != seen[10:]
    assert (feed.size, feed.classes) == (4, 2)
    inputs, labels = next(feed.steps(seed=0, epoch=1, rank=0, processes=1))
    assert torch.equal(labels, inputs[:, 0].long() % 2)


def test_the_order_is_a_function_of_seed_epoch_and_source() -> None:
    one, two = source_feeds(
        [_source(30, batch_size=6), _source(30, batch_size=6)], SPEC, batch_size=4
    )
    first = _seen(one, 4)
    assert first == _seen(one, 4) and len(first[0]) == 6
    others = (_seen(one, 4, epoch=2), _seen(one, 4, seed=1), _seen(two, 4))
    assert all(other != first for other in others)


def test_processes_share_each_step_evenly() -> None:
    (feed,) = source_feeds([_source(40)], SPEC, batch_size=9)
    shares = [_seen(feed, 3, rank=rank, processes=2) for rank in range(2)]
    assert all(len(step) == 4 for share in shares for step in share)
    for mine, other in zip(*shares, strict=True):
        assert not set(mine) & set(other)


@pytest.mark.parametrize("labels", [[], [0, 2], [-1, 0]])
def test_labels_that_are_no_classes_of_the_source_are_refused(labels: list[int]) -> None:
    n = len(labels)
    part = SplitPart(
        ids=tuple(map(str, range(n))),
        labels=np.array(labels, np.int64),
        images=np.zeros((n, 2), np.float32),
    )
    with pytest.raises(DataError, match="source 1"):
        source_feeds([SourceData(part, ("a", "b"))], SPEC, batch_size=4)
