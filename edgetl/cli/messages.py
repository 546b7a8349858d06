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
