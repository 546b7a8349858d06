"""Looking up a threshold or a quantile in what the bundle says about a variant."""

from __future__ import annotations

import math
from bisect import bisect_left
from numbers import Real
from typing import Literal, get_args

from edgetl.bundle import ConformalTable, ThresholdTable
from edgetl.bundle.tables import Column
from edgetl.calibration.conformal import METHODS
from edgetl.errors import UsageError

Keep = Literal["acceptance", "precision"]
KEEPS: tuple[str, ...] = get_args(Keep)

# Decimal fractions such as 0.1 + 0.8 are not exact, in float32 still less; far below a thousandth.
_ROUNDING = 5e-8


def threshold_for(table: ThresholdTable | None, threshold: float, keep: str, variant: str) -> float:
    """The variant's threshold for one of the reference; on the line between two of the table.

    Args:
        table: The variant's, or None.
        threshold: Of the reference, within the table's.
        keep: What stays as it is: ``"acceptance"``, how many inputs are accepted, or
            ``"precision"``, how many of these are right.
        variant: Its id, for the message.

    Raises:
        UsageError: For a threshold outside of the table (NaN included) or without a counterpart,
            another `keep`, or no table.

    Example:
        >>> from edgetl.bundle import ThresholdColumns
        >>> columns = ThresholdColumns(threshold=(0.7, 0.9), low=(0.6, 0.8), high=(0.8, 1.0))
        >>> table = ThresholdTable(n=500, confidence=0.95, reference=(0.5, 0.75),
        ...                        acceptance=columns, precision=columns)
        >>> threshold_for(table, 0.625, "acceptance", "ort-int8")
        0.8
    """
    if keep not in KEEPS:
        raise UsageError(
            "keep", got=repr(keep), expected=" or ".join(KEEPS), fix="name one of these"
        )
    if table is None:
        raise _no_table(
            variant,
            "threshold table",
            "release it anew with `edgetl release`, or compare `confidence` with a threshold "
            "of your own",
        )
    first, last = table.reference[0], table.reference[-1]
    asked = _number(threshold)
    if not first - _ROUNDING <= asked <= last + _ROUNDING:
        raise UsageError(
            "threshold_of_reference",
            got=repr(threshold),
            expected=f"a number from {first:g} to {last:g}, where the bundle's table lies",
            fix="pass the threshold that the app uses with the reference",
        )
    found = _on_line(table, min(max(asked, first), last), keep)
    if found is None:
        raise UsageError(
            "threshold_of_reference",
            got=f"{threshold!r}, whose precision no threshold of the variant {variant} reached",
            expected="one with a counterpart in the bundle's table",
            fix='pass a lower one, or keep="acceptance"',
        )
    return found


def quantile_for(table: ConformalTable | None, coverage: float, method: str, variant: str) -> float:
    """The quantile of the lowest coverage in the table that is not below the one asked for.

    Raises:
        UsageError: For a coverage that is not a number above 0, that is above the table's or that
            the calibration images are too few for; another method; no table.

    Example:
        >>> table = ConformalTable(n=99, coverage=(0.8, 0.9), lac=(0.3, 0.7), aps=(0.2, 0.6))
        >>> quantile_for(table, 0.85, "lac", "ort-int8")
        0.7
    """
    if method not in METHODS:
        raise UsageError(
            "method", got=repr(method), expected=" or ".join(METHODS), fix="name one of these"
        )
    if table is None:
        raise _no_table(
            variant,
            "conformal quantiles",
            "release it anew with `edgetl release`, or use `top` and `probabilities`",
        )
    most = table.coverage[-1]
    asked = _number(coverage)
    if not 0 < asked <= most + _ROUNDING:
        raise UsageError(
            "coverage",
            got=repr(coverage),
            expected=f"a number above 0, at most {most:g}",
            fix="pass 0.9 for nine of ten",
        )
    at = bisect_left(table.coverage, asked - _ROUNDING)
    quantile = (table.lac if method == "lac" else table.aps)[at]
    if quantile is None:
        raise UsageError(
            "coverage",
            got=f"{coverage!r}, for which {table.n} calibration images are too few",
            expected=f"at most {table.n}/{table.n + 1}",
            fix="ask for less, or release with a larger calib split",
        )
    return quantile


def _on_line(table: ThresholdTable, threshold: float, keep: str) -> float | None:
    column: Column = getattr(table, keep).threshold
    above = bisect_left(table.reference, threshold - _ROUNDING)
    high = column[above]
    if table.reference[above] <= threshold + _ROUNDING:
        return high
    low = column[above - 1]
    if low is None or high is None:
        return None
    begin, end = table.reference[above - 1], table.reference[above]
    return low + (threshold - begin) / (end - begin) * (high - low)


def _number(value: object) -> float:
    """In float64: numpy compares a float32 with the table's ends as if these were float32 too.

    NaN, which is in no range, for what is no number.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _no_table(variant: str, what: str, fix: str) -> UsageError:
    return UsageError(
        f"variant {variant}",
        got=f"a bundle without {what}",
        expected=f"{what} in its manifest",
        fix=fix,
    )
