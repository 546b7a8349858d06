"""The order of the classes: the source's own, or the one that `classes` states."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import DataError

_SHOWN = 5


def in_order(
    labels: NDArray[np.int64],
    own: tuple[str, ...],
    classes: tuple[str, ...] | None,
    *,
    where: str,
    numbered: bool = False,
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels and names as `classes` asks for.

    Names are compared without regard to case, for a dataset cannot have two that differ by case
    alone.

    Args:
        labels: int64 [n], positions in `own`.
        own: The source's names.
        classes: The source's names in another order, to which the labels are then moved; or names
            that are all new, for the labels as they are; None keeps the source's.
        where: The source, for messages.
        numbered: Whether `own` are only the labels' numbers, so that a name may be a number and
            still be new.

    Returns:
        The labels, int64 [n], positions in the names beside them.

    Raises:
        DataError: When some of `classes` are the source's and others are not.

    Example:
        >>> labels, names = in_order(np.array([0, 1, 2]), ("b", "g", "r"), ("r", "g", "b"),
        ...                          where="folder:x")
        >>> labels, names
        (array([2, 1, 0]), ('r', 'g', 'b'))
    """
    if classes is None:
        return labels, own
    if is_reordered(own, classes):
        wanted = {_folded(name): at for at, name in enumerate(classes)}
        moved = np.array([wanted[_folded(name)] for name in own], np.int64)
        # Labels beyond the names are left for `Dataset` to refuse.
        fits = not len(labels) or (labels.min() >= 0 and labels.max() < len(own))
        return (moved[labels] if fits else labels), classes
    if not numbered:
        _check_all_new(own, classes, where)
    return labels, classes


def is_reordered(own: Sequence[str], classes: Sequence[str]) -> bool:
    """Whether `classes` are the source's own names, in whatever order.

    Example:
        >>> is_reordered(("cat", "dog"), ("dog", "cat")), is_reordered(("0", "1"), ("a", "b"))
        (True, False)
    """
    theirs, ours = sorted(map(_folded, own)), sorted(map(_folded, classes))
    return theirs == ours and len(set(ours)) == len(ours)


def _check_all_new(own: tuple[str, ...], classes: tuple[str, ...], where: str) -> None:
    theirs, ours = {_folded(name) for name in own}, {_folded(name) for name in classes}
    if not theirs & ours:
        return
    new = [name for name in classes if _folded(name) not in theirs]
    lost = [name for name in own if _folded(name) not in ours]
    odd = [f"{_listed(new)}, which the source has not"] * bool(new)
    odd += [f"no {_listed(lost)}, which the source has"] * bool(lost)
    raise DataError(
        f"classes of {where}",
        got="; ".join(odd) or "a name twice",
        expected="the source's own names, each once, in the order of the network's outputs; or "
        "names that are all new, for the source's in its own order",
        fix=f"the source has, in its order: {_listed(list(own), 50)}",
    )


def _listed(names: list[str], most: int = _SHOWN) -> str:
    more = len(names) - most
    return ", ".join(map(repr, names[:most])) + (f" and {more} more" if more > 0 else "")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
