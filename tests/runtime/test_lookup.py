from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgetl.bundle import ConformalTable, ThresholdColumns, ThresholdTable
from edgetl.errors import UsageError
from edgetl.runtime.lookup import quantile_for, threshold_for

TABLE = ThresholdTable(
    n=500,
    confidence=0.95,
    reference=(0.5, 0.6, 0.7, 0.8),
    acceptance=ThresholdColumns(
        threshold=(0.45, 0.6, 0.68, 0.9), low=(0.4, 0.5, 0.6, 0.8), high=(0.5, 0.7, 0.8, 1.0)
    ),
    precision=ThresholdColumns(
        threshold=(0.5, 0.55, None, 0.95), low=(0.4, 0.5, None, 0.8), high=(0.6, 0.7, None, 1.0)
    ),
)
QUANTILES = ConformalTable(
    n=98, coverage=(0.5, 0.9, 0.95, 0.99), lac=(0.1, 0.4, 0.6, None), aps=(0.0, 0.3, 0.5, None)
)


@pytest.mark.parametrize(
    ("asked", "keep", "given"),
    [
        (0.5, "acceptance", 0.45),
        (0.6, "acceptance", 0.6),
        (0.8, "acceptance", 0.9),
        (0.75, "acceptance", 0.79),
        (0.525, "acceptance", 0.4875),
        (np.float32(0.75), "acceptance", 0.79),
        (0.5, "precision", 0.5),
        (0.55, "precision", 0.525),
        (0.8, "precision", 0.95),
        # Both are a little above the decimal number in float32.
        (np.float32(0.8), "acceptance", 0.9),
        (np.float32(0.6), "precision", 0.55),
        (0.1 * 8 + 1e-16, "acceptance", 0.9),
    ],
)
def test_the_table_is_read_on_lines(asked: Any, keep: str, given: float) -> None:
    assert threshold_for(TABLE, asked, keep, "v") == pytest.approx(given, abs=1e-12)


@pytest.mark.parametrize(
    "asked",
    [math.nan, math.inf, -math.inf, 0, 1, 0.49999, 0.80001, -0.7, 80, "0.7", True, 1j, 10**400],
)
def test_a_threshold_outside_of_the_table_is_refused(asked: Any) -> None:
    with pytest.raises(UsageError, match=r"from 0\.5 to 0\.8"):
        threshold_for(TABLE, asked, "acceptance", "v")


@pytest.mark.parametrize("asked", [0.65, 0.7, 0.75])
def test_beside_a_precision_that_was_not_reached_nothing_is_made_up(asked: float) -> None:
    with pytest.raises(UsageError, match="no threshold of the variant v"):
        threshold_for(TABLE, asked, "precision", "v")


def test_without_a_table_it_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="edgetl release") as caught:
        threshold_for(None, 0.8, "acceptance", "ort-int8")
    assert "ort-int8" in caught.value.subject
    with pytest.raises(UsageError, match="edgetl release"):
        quantile_for(None, 0.9, "lac", "ort-int8")


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(UsageError, match="acceptance or precision"):
        threshold_for(TABLE, 0.6, "recall", "v")
    with pytest.raises(UsageError, match="lac or aps"):
        quantile_for(QUANTILES, 0.9, "raps", "v")


@pytest.mark.parametrize(
    ("asked", "method", "given"),
    [
        (0.5, "lac", 0.1),
        (0.9, "lac", 0.4),
        (0.1 + 0.8, "lac", 0.4),
        (0.9000001, "lac", 0.6),
        (0.91, "aps", 0.5),
        (0.01, "lac", 0.1),
        (np.float32(0.9), "lac", 0.4),
        (np.float32(0.95), "lac", 0.6),
    ],
)
def test_the_next_higher_coverage_is_taken(asked: float, method: str, given: float) -> None:
    assert quantile_for(QUANTILES, asked, method, "v") == given


@pytest.mark.parametrize(
    "asked", [math.nan, math.inf, 0, -0.1, 0.995, 1, 90, "0.9", True, None, 10**400]
)
def test_a_coverage_that_is_none_is_refused(asked: Any) -> None:
    with pytest.raises(UsageError, match="coverage"):
        quantile_for(QUANTILES, asked, "lac", "v")


def test_a_coverage_that_was_not_reachable_names_the_number_of_images() -> None:
    with pytest.raises(UsageError, match="98 calibration images are too few") as caught:
        quantile_for(QUANTILES, 0.96, "aps", "v")
    assert "98/99" in caught.value.expected
