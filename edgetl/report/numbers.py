"""How the report writes numbers and foreign text."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

DASH = "–"
_MINUS = "−"
# Control characters are no text, and the bidirectional ones would turn the words around them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def clean(value: object, limit: int = 48) -> str:
    """Foreign text on one line: no control characters, cut in the middle to `limit` characters.

    Example:
        >>> clean("a\\tb\\x00"), clean("abcdefghij", 5)
        ('a b�', 'ab…ij')
    """
    text = _UNSAFE.sub("�", " ".join(str(value).split()))
    if len(text) <= limit:
        return text
    head = limit // 2
    return f"{text[:head]}…{text[len(text) - (limit - head - 1) :]}"


def number(value: object, digits: int = 3, *, sign: bool = False) -> str:
    """A number to `digits` decimals, a dash for what is none.

    Example:
        >>> number(-0.0004, 3), number(0.25, 2, sign=True), number(None)
        ('0.000', '+0.25', '–')
    """
    found = finite(value)
    if found is None:
        return DASH
    rounded = round(found, digits) + 0.0
    return f"{rounded:{'+' if sign and rounded else ''}.{digits}f}".replace("-", _MINUS)


def percent(value: object, digits: int = 2) -> str:
    """A fraction as a percentage.

    Example:
        >>> percent(0.9512)
        '95.12 %'
    """
    found = finite(value)
    return DASH if found is None else f"{number(100 * found, digits)} %"


def significant(value: object, digits: int = 3) -> str:
    """A positive number to so many significant digits, without an exponent where one can read it.

    Example:
        >>> significant(0.30149), significant(16.948), significant(1234.5)
        ('0.301', '16.9', '1,234')
    """
    found = finite(value)
    if found is None:
        return DASH
    if found == 0:
        return "0"
    exponent = math.floor(math.log10(abs(found)))
    if exponent < -5:
        return f"{found:.{digits - 1}e}".replace("-", _MINUS)
    return f"{found:,.{max(0, digits - 1 - exponent)}f}".replace("-", _MINUS)


def times(value: object, digits: int = 3) -> str:
    """A factor.

    Example:
        >>> times(10.44)
        '10.4×'
    """
    return DASH if finite(value) is None else f"{significant(value, digits)}×"


def count(value: object, one: str, many: str = "") -> str:
    """A number with its noun.

    Example:
        >>> count(1, "image"), count(1797, "image")
        ('1 image', '1,797 images')
    """
    found = finite(value)
    shown = DASH if found is None else f"{found:,.0f}"
    return f"{shown} {one if found == 1 else many or one + 's'}"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them; empty for none.

    Example:
        >>> listed(["p90"]), listed(["p90", "p99", "size"])
        ('p90', 'p90, p99 and size')
    """
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def finite(value: object) -> float | None:
    """The value when it is a finite number, else None.

    Example:
        >>> finite(True), finite(float("nan")), finite(2)
        (None, None, 2.0)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
