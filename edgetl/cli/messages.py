"""How an error looks on a terminal."""

from __future__ import annotations

import sys

from edgetl.errors import EdgetlError


def print_error(error: EdgetlError) -> None:
    """Print an error's four parts to standard error."""
    print(
        f"edgetl: {error.subject}\n"
        f"  got       {error.got}\n"
        f"  expected  {error.expected}\n"
        f"  to fix    {error.fix}",
        file=sys.stderr,
    )


def print_problem(text: str, *, as_error: bool) -> None:
    """Print what is wrong with a result, among the results or, where these are not printed,
    to standard error: it is never silent."""
    print(text, file=sys.stderr if as_error else sys.stdout)


def fault(error: Exception) -> EdgetlError:
    """What to say of an exception that nothing in edgetl expects.

    Example:
        >>> fault(KeyError("top1")).got
        "KeyError: 'top1'"
    """
    text = " ".join(str(error).split())
    return EdgetlError(
        "a fault of edgetl itself, not of what it was given",
        got=f"{type(error).__name__}: {text}" if text else type(error).__name__,
        expected="a result, or a message that says what to change",
        fix="report it, with the traceback that the same command prints under EDGETL_TRACEBACK=1",
    )
