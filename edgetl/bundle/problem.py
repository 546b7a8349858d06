"""What can be wrong with a bundle, and which paths and texts it may hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from edgetl.errors import BundleError

MANIFEST = "manifest.json"
DIGEST = "manifest.sha256"
SIGNATURE = "signature.json"
RESERVED = frozenset({MANIFEST, DIGEST, SIGNATURE})

_AGAIN = "copy or download the bundle again, or make it anew with `edgetl release`"
_MAX_PATH = 200
# No leading dot, so neither `.`, `..` nor a hidden file; ASCII, so that no file system or archive
# tool spells a name in a second way.
_SEGMENT = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
# Marks that reorder the text around them: a label could be shown as another one.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a bundle.

    Attributes:
        file: The file it is about, relative to the bundle; the archive's own name when the zip
            itself is not right.
        got: What was found.
        expected: What would have been right.
        fix: What the reader can do about it.

    Example:
        >>> print(Problem(file="models/a.onnx", got="no such file", expected="a listed file"))
        models/a.onnx: got no such file; expected a listed file
    """

    file: str
    got: str
    expected: str
    fix: str = _AGAIN

    def __str__(self) -> str:
        return f"{self.file}: got {self.got}; expected {self.expected}"


def error_from(bundle: str, problems: list[Problem]) -> BundleError:
    """One error for all problems: the first in full, the other files by name."""
    first, *others = problems
    got = first.got
    if others:
        names = ", ".join(sorted({problem.file for problem in others})[:5])
        got += f" (and {len(others)} more problems: {names})"
    return BundleError(f"{bundle}: {first.file}", got=got, expected=first.expected, fix=first.fix)


def path_fault(path: str) -> str | None:
    """What is wrong with a path inside a bundle, or None.

    Example:
        >>> path_fault("models/a.onnx")
        >>> path_fault("../a")
        "the path '../a'"
    """
    good = len(path) <= _MAX_PATH and all(map(_SEGMENT.fullmatch, path.split("/")))
    return None if good else f"the path {path[: _MAX_PATH + 1]!r}"


def paths_fault(paths: Iterable[str]) -> str | None:
    """What is wrong with paths taken together, or None.

    Two paths may not differ in case alone, nor may a file be another one's folder: no file
    system could then hold both.

    Example:
        >>> paths_fault(["a", "b/c"])
        >>> paths_fault(["models/a", "models/A"])
        "'models/A' and 'models/a', equal but for case"
    """
    seen: dict[str, str] = {}
    for path in sorted(paths):
        other = seen.setdefault(path.lower(), path)
        if other != path:
            return f"{other!r} and {path!r}, equal but for case"
    for low, path in seen.items():
        for parent in parents(low):
            if parent in seen:
                return f"{seen[parent]!r} as a file and as the folder of {path!r}"
    return None


def parents(path: str) -> list[str]:
    """Every folder above a path, the outermost first.

    Example:
        >>> parents("a/b/c")
        ['a', 'a/b']
    """
    parts = path.split("/")[:-1]
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]


def text_fault(text: str) -> str | None:
    r"""Why a text may not be shown to a user, or None.

    Refused are control characters (a terminal obeys them), lone surrogates, line and paragraph
    separators, and the marks that reverse the direction of writing.

    Example:
        >>> text_fault("Äpfel")
        >>> text_fault("a\x1b[2J")
        "the character '\\x1b' in 'a\\x1b[2J'"
    """
    for char in text:
        if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in _BIDI:
            return f"the character {char!a} in {text[:60]!a}"
    return None
