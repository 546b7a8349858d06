"""The optional tables of a variant: thresholds and conformal quantiles; their way back from JSON.

Every rule of docs/bundle-format.md about them is checked here, so that a device that looks one up
need not wonder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from edgetl.bundle.fields import Node

MAX_POINTS = 60
# A sum of float32 probabilities may be above 1 by as much as a row's sum may be.
_MOST_MASS = 1.001

Column = tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class ThresholdColumns:
    """Thresholds of the variant, one for each of the reference's.

    Attributes:
        threshold, low, high: Estimates and the ends of their intervals, 0..1, never falling;
            None, in all three, where there is no such threshold.
    """

    threshold: Column
    low: Column
    high: Column


@dataclass(frozen=True, kw_only=True)
class ThresholdTable:
    """Which thresholds of the variant do what the reference's do.

    Attributes:
        n: Images it was fitted on.
        confidence: Of each interval by itself, two-sided.
        reference: The reference's thresholds, rising.
        acceptance: Those that accept as many images; without None.
        precision: Those with as large a share of right answers among the accepted.
    """

    n: int
    confidence: float
    reference: tuple[float, ...]
    acceptance: ThresholdColumns
    precision: ThresholdColumns


@dataclass(frozen=True, kw_only=True)
class ConformalTable:
    """Quantiles of split-conformal scores.

    Attributes:
        n: Images it was fitted on.
        coverage: Coverages, rising, in whole thousandths.
        lac, aps: A quantile for each coverage, never falling; None where n is too few for it.
    """

    n: int
    coverage: tuple[float, ...]
    lac: Column
    aps: Column


def table_to_json(table: ThresholdTable | ConformalTable) -> dict[str, Any]:
    """A table as plain data."""
    return asdict(table)


def read_thresholds(node: Node) -> ThresholdTable:
    """A variant's `thresholds`.

    Raises:
        BundleError: When it is not such a table; the message says where.
    """
    reference = _rising(node.key("reference"))
    table = ThresholdTable(
        n=node.key("n").integer(least=1),
        confidence=_open_unit(node.key("confidence")),
        reference=reference,
        acceptance=_columns(node.key("acceptance"), len(reference)),
        precision=_columns(node.key("precision"), len(reference)),
    )
    if None in table.acceptance.threshold:
        raise node.key("acceptance").error("a threshold at every place: one always exists")
    return table


def read_conformal(node: Node) -> ConformalTable:
    """A variant's `conformal`.

    Raises:
        BundleError: When it is not such a table; the message says where.
    """
    n = node.key("n").integer(least=1)
    coverage = _rising(node.key("coverage"))
    if any(round(one * 1000) / 1000 != one for one in coverage):
        raise node.key("coverage").error("whole thousandths")
    lac, aps = (
        _column(node.key(name), len(coverage), most=most)
        for name, most in (("lac", 1.0), ("aps", _MOST_MASS))
    )
    for name, column in (("lac", lac), ("aps", aps)):
        for one, quantile in zip(coverage, column, strict=True):
            reachable = (n + 1) * round(one * 1000) <= n * 1000
            if reachable != (quantile is not None):
                raise node.key(name).error(
                    f"null exactly where {n} images cannot promise the coverage"
                )
    return ConformalTable(n=n, coverage=coverage, lac=lac, aps=aps)


def _columns(node: Node, length: int) -> ThresholdColumns:
    names = ("threshold", "low", "high")
    threshold, low, high = (_column(node.key(name), length, most=1.0) for name in names)
    for triple in zip(low, threshold, high, strict=True):
        numbers = [one for one in triple if one is not None]
        if len(numbers) not in (0, 3) or numbers != sorted(numbers):
            raise node.error("low, threshold and high in this order, or null in all three")
    return ThresholdColumns(threshold=threshold, low=low, high=high)


def _column(node: Node, length: int, *, most: float) -> Column:
    items = node.items()
    if len(items) != length:
        raise node.error(f"{length} numbers, one for each place of the table")
    column = tuple(None if item.value is None else _share(item, most) for item in items)
    numbers = [one for one in column if one is not None]
    if numbers != sorted(numbers):
        raise node.error("numbers that never fall")
    return column


def _rising(node: Node) -> tuple[float, ...]:
    items = node.items()
    if not 1 <= len(items) <= MAX_POINTS:
        raise node.error(f"1 to {MAX_POINTS} numbers")
    numbers = tuple(_open_unit(item) for item in items)
    if not _is_rising(numbers):
        raise node.error("numbers that rise")
    return numbers


def _is_rising(numbers: Sequence[float]) -> bool:
    return all(low < high for low, high in pairwise(numbers))


def _open_unit(node: Node) -> float:
    number = node.number(above=0, up_to=1)
    if number == 1:
        raise node.error("a number below 1")
    return number


def _share(node: Node, most: float) -> float:
    number = node.number(up_to=most)
    if number < 0:
        raise node.error(f"a number from 0 to {most:g}")
    return number
