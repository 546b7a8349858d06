from __future__ import annotations

import math

import pytest

from edgetl.report.numbers import clean, count, finite, number, percent, significant, times


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "3", True, [1]])
def test_what_is_no_number_is_a_dash(value: object) -> None:
    assert finite(value) is None
    for shown in (number(value), percent(value), significant(value), times(value)):
        assert shown == "–"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (1e-9, "1.00e−09"), (0.00123, "0.00123"), (99.96, "100.0"), (-2.5, "−2.50")],
)
def test_significant_digits(value: float, shown: str) -> None:
    assert significant(value) == shown


def test_minus_zero_is_zero() -> None:
    assert number(-1e-9, 2, sign=True) == "0.00"
    assert number(-1.25, 2) == "−1.25"


@pytest.mark.parametrize("code", [0, 0x1B, 0x7F, 0x202E, 0x2066, 0x200B, 0xFEFF, 0xD800])
def test_text_without_a_meaning_is_replaced(code: int) -> None:
    assert clean(f"a{chr(code)}b") == "a�b"


def test_long_text_is_cut_in_the_middle() -> None:
    text = "start" + "x" * 500 + "end"
    cut = clean(text, 20)
    assert len(cut) == 20 and cut.startswith("start") and cut.endswith("end")
    assert count(2, "index", "indices") == "2 indices"
