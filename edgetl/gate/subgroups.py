"""Accuracy lost by the worst class, and by slices of the images."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import GateError
from edgetl.gate.align import Aligned
from edgetl.gate.harms import Harm, drop_of_counts
from edgetl.gate.policy import Policy
from edgetl.gate.verdict import SLICE
from edgetl.metrics import correct
from edgetl.stats import structural_minimum, tango_sample_size

MOST_VALUES = 100
"""A slice column of more values than this is no set of slices: each would be a gate."""

_CLASS = "class"
_NAMED = 3  # how many classes a remark lists


@dataclass(frozen=True, kw_only=True)
class Group:
    """The images of a class or slice, and how many of them one side alone gets right."""

    name: str
    b: int
    c: int
    n: int

    def harm(self, gate: str, limit: float) -> Harm:
        """The drop of top-1; nothing is known of a group without an image."""
        if self.n:
            return drop_of_counts(gate, self.b, self.c, self.n, limit)
        return Harm(
            name=gate,
            limit=limit,
            n=0,
            estimate=0.0,
            bounds=lambda _alpha: (-1.0, 1.0),
            size=lambda _harm, _alpha: None,
        )


def worst_class(data: Aligned, limit: float) -> Harm:
    """The greatest drop of top-1 among the classes, each judged on its own images.

    PASS takes every class's upper bound at alpha under the limit (intersection-union, no
    correction); a drop is shown where some class's lower bound at alpha / K is over it, which is
    the first step of Holm's procedure over the K classes.

    n and the further images are of the data as a whole: a class gets its share of them.
    """
    groups = _groups(data, data.labels, _class_names(data))
    harms = [group.harm("worst_class", limit) for group in groups]
    n = len(data.labels)

    def bounds(alpha: float) -> tuple[float, float]:
        share = alpha / len(harms)
        lower = max(harm.bounds(share)[0] for harm in harms)
        return lower, max(harm.bounds(alpha)[1] for harm in harms)

    def size(harm: float, alpha: float) -> int | None:
        if harm > limit:
            worst = max(range(len(groups)), key=lambda at: harms[at].estimate)
            return _scaled(groups[worst], harm, limit, alpha / len(groups), n)
        pressing = _hungriest(groups, harms, harm, limit)
        of_none = 0.0 if harm == 0.0 else (pressing.c - pressing.b) / max(1, pressing.n)
        return _scaled(pressing, of_none, limit, alpha, n)

    def remark(alpha: float, verdict: str) -> str:
        if verdict == "FAIL":
            shown = _shown(groups, harms, alpha)
            more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
            return f"shown for the class {', '.join(map(repr, shown[:_NAMED]))}{more}"
        at = max(range(len(harms)), key=lambda index: harms[index].bounds(alpha)[1])
        fewest = structural_minimum(limit, alpha)
        few = f", under the {fewest} that this limit takes" if groups[at].n < fewest else ""
        return f"the class {groups[at].name!r} has the greatest bound: {groups[at].n} images{few}"

    return Harm(
        name="worst_class",
        limit=limit,
        n=n,
        estimate=max(harm.estimate for harm in harms),
        bounds=bounds,
        size=size,
        remark=remark,
    )


def slice_drops(data: Aligned, policy: Policy) -> tuple[Harm, ...]:
    """The drop of top-1 on the images of each slice that the policy names: a gate each.

    Raises:
        GateError: For a column, value or class that the data do not have, a column of more than
            100 values, or no column at all.
    """
    limit = policy.max_slice_drop
    if limit is None:
        return ()
    found: dict[str, Group] = {}
    for wanted in policy.slices or tuple(data.slices):
        for group in _wanted(data, wanted):
            found[group.name] = group
    if not found:
        _refuse(
            "no slice column in the predictions",
            "a column to judge by",
            "store slices with the predictions, or leave max_slice_drop out of the policy",
        )
    return tuple(group.harm(SLICE + name, limit) for name, group in found.items())


def _wanted(data: Aligned, wanted: str) -> tuple[Group, ...]:
    """The groups of ``column``, or the one of ``column=value``."""
    column, equals, value = wanted.partition("=")
    if wanted in data.slices or wanted == _CLASS:
        column, equals = wanted, ""
    values = _column(data, column)
    names, places = np.unique(values, return_inverse=True)
    texts = tuple(str(name) for name in names)
    if equals and value not in texts:
        _refuse(
            f"{wanted!r} in the policy, and no image of it",
            f"a value that images have: {_listed(texts)}",
            _nearest(value, texts, "judge images of it, or correct the value"),
        )
    if not equals and len(texts) > MOST_VALUES:
        _refuse(
            f"the column {column!r} with {len(texts)} different values",
            f"at most {MOST_VALUES} values, each a slice",
            f"name the values that matter: slices = ['{column}={texts[0]}']",
        )
    groups = _groups(data, places.reshape(-1), tuple(f"{column}={text}" for text in texts))
    return tuple(group for group in groups if not equals or group.name == wanted)


def _column(data: Aligned, column: str) -> NDArray[np.str_]:
    known = (*data.slices, _CLASS)
    if column not in known:
        _refuse(
            f"no slice column {column!r} in the predictions",
            f"one of: {_listed(known)}",
            _nearest(column, known, "store the column, or correct its name"),
        )
    if column in data.slices:
        return data.slices[column]
    return np.array(_class_names(data), dtype=np.str_)[data.labels]


def _class_names(data: Aligned) -> tuple[str, ...]:
    return data.classes or tuple(str(index) for index in range(data.reference.shape[1]))


def _groups(data: Aligned, places: NDArray[np.int64], names: Sequence[str]) -> list[Group]:
    """The counts of each group, of which `places` gives the image's."""
    ours, theirs = correct(data.reference, data.labels), correct(data.candidate, data.labels)
    counts = (
        np.bincount(places[rows], minlength=len(names))
        for rows in (theirs & ~ours, ours & ~theirs, slice(None))
    )
    return [
        Group(name=name, b=int(b), c=int(c), n=int(n))
        for name, b, c, n in zip(names, *counts, strict=True)
    ]


def _hungriest(groups: Sequence[Group], harms: Sequence[Harm], harm: float, limit: float) -> Group:
    """The group that needs the most further images of the whole, by a normal approximation."""

    def appetite(at: int) -> float:
        group = groups[at]
        if group.n == 0:
            return math.inf
        distance = limit - (0.0 if harm == 0.0 else harms[at].estimate)
        discordant = (group.b + group.c) / group.n
        spread = discordant / distance**2 if distance > 0 else math.inf
        # Without a flip the score interval still takes about 1 / limit; the factor z² is shared.
        return (spread * 2.3 + 1 / limit) / group.n

    return groups[max(range(len(groups)), key=appetite)]


def _scaled(group: Group, drop: float, limit: float, alpha: float, n: int) -> int | None:
    """Images of the whole that give a group as many as decide it."""
    if group.n == 0:
        # Nobody knows its share; it takes at least so many of its own.
        return n + structural_minimum(limit, alpha)
    total = tango_sample_size(-drop, (group.b + group.c) / group.n, limit, alpha=alpha)
    return None if total is None else math.ceil(total * n / group.n)


def _shown(groups: Sequence[Group], harms: Sequence[Harm], alpha: float) -> list[str]:
    """The classes whose drop is shown, by Holm's procedure over all of them."""
    left = list(zip(groups, harms, strict=True))
    while left:
        level = alpha / len(left)
        still = [(group, harm) for group, harm in left if not harm.exceeds(level)]
        if len(still) == len(left):
            break
        left = still
    kept = {group.name for group, _ in left}
    return [group.name for group in groups if group.name not in kept]


def _nearest(name: str, known: Sequence[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{near[0]}'?" if near else otherwise


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:10])
    return shown + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _refuse(got: str, expected: str, fix: str) -> NoReturn:
    raise GateError("policy: slices", got=got, expected=expected, fix=fix)
