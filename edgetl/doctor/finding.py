"""What doctor says about one thing: in four parts, as every message of edgetl."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is worth knowing.

    Attributes:
        kind: ``"problem"``: it is broken and should be mended; ``"note"``: it works, or is not
            there, and could be better.
        subject: What it is about.
        got: What was found.
        expected: What would be right.
        fix: The line that mends it.
    """

    kind: Literal["problem", "note"]
    subject: str
    got: str
    expected: str
    fix: str
