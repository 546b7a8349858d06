"""TOML written with a comment beside each value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from edgetl.errors import UsageError

_COMMENT_AT = 34


def toml_value(value: object) -> str:
    """A text, number, boolean or list of these, as TOML has it.

    Raises:
        UsageError: For a text that is not UTF-8, such as the name of an odd file.

    Example:
        >>> toml_value(["cat", 0.5, True])
        '["cat", 0.5, true]'
    """
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(one) for one in value) + "]"
    # JSON's escapes are TOML's, but for the last of the control characters.
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            repr(value)[:80],
            got="a name that is not UTF-8",
            expected="text that a TOML file can hold",
            fix="rename it",
        ) from error
    return text


def entry(key: str, value: object, why: str = "", *, off: bool = False) -> str:
    """A line that sets a key, with what there is to say of it.

    Args:
        key: Its name.
        value: As `toml_value` takes it.
        why: The comment.
        off: Whether the line is itself a comment: a value to switch on.

    Example:
        >>> entry("val", 200, "a tenth")
        'val = 200                         # a tenth'
    """
    line = f"{'# ' if off else ''}{key} = {toml_value(value)}"
    return f"{line:<{_COMMENT_AT - 1}} # {plain(why)}" if why else line


def comment(text: str) -> str:
    """A line of comment."""
    return f"# {plain(text)}"


def plain(text: str) -> str:
    """A text without what would end a comment or confuse a terminal.

    Example:
        >>> plain("two\\nlines")
        'two lines'
    """
    return "".join(one if one.isprintable() else " " for one in text)


def toml_document(table: Mapping[str, Any]) -> str:
    """A table of texts, numbers, booleans, lists of these, and tables, as a TOML file.

    Example:
        >>> print(toml_document({"name": "a", "data": {"val": 2}}), end="")
        name = "a"
        <BLANKLINE>
        [data]
        val = 2
    """
    return "\n".join(_document(table, ())) + "\n"


def _document(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    inner = {key: one for key, one in table.items() if isinstance(one, Mapping)}
    plain_keys = [key for key in table if key not in inner]
    if path and (plain_keys or not inner):
        yield from ("", f"[{'.'.join(map(_key, path))}]")
    for key in plain_keys:
        yield f"{_key(key)} = {toml_value(table[key])}"
    for key, one in inner.items():
        yield from _document(one, (*path, key))


def _key(name: str) -> str:
    """A key as it is, or in quotation marks where TOML wants them."""
    bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if bare else toml_value(name)
