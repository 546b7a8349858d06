"""Names of others' making, put where a few characters mean something else."""

from __future__ import annotations

import re

# XML 1.0 knows no other control characters, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# What splits a line or moves the cursor: controls, and Unicode's line and paragraph separators.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_MARKUP = re.compile(r"([\\`*_\[\]|])")


def xml_text(text: str) -> str:
    """Text that may stand in XML once it is escaped; what may not becomes U+FFFD.

    Example:
        >>> xml_text("a\\x00b") == "a\\ufffdb"
        True
    """
    return _NOT_XML.sub("\ufffd", text)


def one_line(text: str) -> str:
    """Text without control characters and line ends: each run of them becomes a space.

    Example:
        >>> one_line("a\\r\\n::error::b\\x1b[2J")
        'a ::error::b [2J'
    """
    return _CONTROL.sub(" ", text).strip()


def markdown_text(text: str) -> str:
    """Text that is shown as it is in Markdown: no tag, link, emphasis, code or table cell.

    Example:
        >>> print(markdown_text("ov|int8 <img> a_b"))
        ov\\|int8 &lt;img> a\\_b
    """
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKUP.sub(r"\\\1", plain)
