"""TOML written with a comment beside each value."""

from __future__ import annotations

import json

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
