"""The next batch made in another thread while this one is trained on."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def one_ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """The same items in the same order, each drawn while the one before it is used.

    One thread draws all of them, so that what they are made from, such as a random generator, is
    used in the same order as without. What an item raises is raised where it is due. Close the
    iterator when it is left early, as `contextlib.closing` does: the thread ends then.

    Example:
        >>> list(one_ahead(iter("abc")))
        ['a', 'b', 'c']
    """
    end = object()

    def draw() -> T | object:
        return next(items, end)

    with ThreadPoolExecutor(1, thread_name_prefix="edgetl-batches") as pool:
        coming: Future[T | object] = pool.submit(draw)
        while (item := coming.result()) is not end:
            coming = pool.submit(draw)
            yield item  # type: ignore[misc]
