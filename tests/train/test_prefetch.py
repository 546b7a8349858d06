"""Items in order, each made while the one before it is used."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from edgetl.train.prefetch import one_ahead


def test_the_next_is_made_before_it_is_asked_for_and_no_more() -> None:
    made: list[int] = []
    second = threading.Event()

    def items() -> Iterator[int]:
        for number in range(5):
            made.append(number)
            if number == 1:
                second.set()
            yield number

    with closing(one_ahead(items())) as ahead:
        assert next(ahead) == 0
        assert second.wait(10)
        assert made == [0, 1]
        assert list(ahead) == [1, 2, 3, 4]
    assert not [one for one in threading.enumerate() if one.name.startswith("edgetl-batches")]


def test_what_an_item_raises_is_raised_where_it_is_due() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("two")

    ahead = one_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(KeyError):
        next(ahead)


def test_leaving_early_ends_the_thread() -> None:
    with closing(one_ahead(iter(range(100)))) as ahead:
        next(ahead)
    assert not [one for one in threading.enumerate() if one.name.startswith("edgetl-batches")]
