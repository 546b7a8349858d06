"""Typed reading of a parsed JSON document: every fault is said with its place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from edgetl.bundle.problem import MANIFEST, text_fault
from edgetl.errors import BundleError
from edgetl.spec import Setting

_MAX_DEPTH = 24
_MAX_INTEGER = 1 << 53  # the integers that every JSON reader keeps exactly


@dataclass(frozen=True)
class Node:
    """A value of the manifest and where it stands.

    Example:
        >>> Node({"a": [1, "x"]}, "").key("a").items()[1].text()
        'x'
    """

    value: Any
    where: str

    def error(self, expected: str) -> BundleError:
        """The error that this value is not what it should be."""
        shown = ascii(self.value)
        return BundleError(
            f"{MANIFEST}: {self.where or 'the document'}",
            got=shown if len(shown) <= 80 else f"{shown[:77]}...",
            expected=expected,
            fix="make the bundle anew with `edgetl release`",
        )

    def mapping(self) -> dict[str, Node]:
        """The values of an object, by key."""
        if not isinstance(self.value, dict):
            raise self.error("an object")
        return {key: Node(value, self._below(key)) for key, value in self.value.items()}

    def key(self, name: str) -> Node:
        """The value of a key that must be there."""
        found = self.mapping().get(name)
        if found is None:
            raise Node("no such key", self._below(name)).error("this key")
        return found

    def items(self) -> list[Node]:
        """The values of a list."""
        if not isinstance(self.value, list):
            raise self.error("a list")
        return [Node(value, f"{self.where}[{at}]") for at, value in enumerate(self.value)]

    def text(self, *, limit: int = 256) -> str:
        """A text that is not empty and holds no control character."""
        if not isinstance(self.value, str) or not 1 <= len(self.value) <= limit:
            raise self.error(f"a text of 1 to {limit} characters")
        return self.value

    def one_of(self, choices: tuple[str, ...]) -> str:
        """One of a few texts."""
        if self.value not in choices:
            raise self.error(f"one of {', '.join(choices)}")
        return str(self.value)

    def integer(self, *, least: int) -> int:
        """A whole number, at least `least`."""
        if type(self.value) is not int or self.value < least:
            raise self.error(f"a whole number, at least {least}")
        return self.value

    def number(self, *, above: float = -math.inf, up_to: float = math.inf) -> float:
        """A finite number in (above, up_to]."""
        if type(self.value) not in (int, float) or not above < self.value <= up_to:
            raise self.error(f"a finite number above {above:g}, at most {up_to:g}")
        return float(self.value)

    def scalar(self) -> Setting:
        """A text, a number or a truth value."""
        if not isinstance(self.value, str | int | float | bool):
            raise self.error("a text, a number, true or false")
        return self.value

    def _below(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key


def check_plain(document: Any) -> None:
    """Refuse what no value of a manifest may be, wherever it stands, unknown keys included.

    Raises:
        BundleError: For a number that is not finite or not exact in every JSON reader, a control
            character in a key or a text, or nesting deeper than 24 levels.
    """
    waiting = [(Node(document, ""), 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            raise Node(None, node.where).error(f"at most {_MAX_DEPTH} levels of nesting")
        _check_scalar(node)
        if isinstance(node.value, dict):
            for key in node.value:
                if text_fault(key):
                    raise Node(key, node.where).error("a key without control characters")
            waiting += [(below, depth + 1) for below in node.mapping().values()]
        elif isinstance(node.value, list):
            waiting += [(below, depth + 1) for below in node.items()]


def _check_scalar(node: Node) -> None:
    value = node.value
    if isinstance(value, str) and text_fault(value):
        raise node.error("a text without control characters")
    if isinstance(value, float) and not math.isfinite(value):
        raise node.error("a finite number")
    if isinstance(value, int) and abs(value) > _MAX_INTEGER:
        raise node.error("a whole number of at most 53 bits")
