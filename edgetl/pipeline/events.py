"""What a stage says while it works: plain events that a terminal, a log or a test can show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened in a release.

    Attributes:
        stage: The stage's name.
        kind: ``start`` (the stage begins), ``progress`` (of `total` steps `done` are over),
            ``note`` (a line worth keeping), ``fresh`` (nothing changed, the stage is skipped),
            ``done`` (finished, after `seconds`).
        text: What is being done, or the note.
    """

    stage: str
    kind: str
    text: str = ""
    done: int = 0
    total: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The event as plain data."""
        return asdict(self)


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener that shows nothing."""


class Reporter:
    """How a stage speaks to its listener, under its own name.

    Example:
        >>> heard = []
        >>> Reporter("export", heard.append).note("checked 256 images")
        >>> heard[0].text
        'checked 256 images'
    """

    def __init__(self, stage: str, listener: Listener) -> None:
        self.stage = stage
        self._listener = listener

    def note(self, text: str) -> None:
        """Say a line that stays on the screen."""
        self._listener(Event(stage=self.stage, kind="note", text=text))

    def progress(self, text: str, done: int, total: int) -> None:
        """Say how far the work is."""
        self._listener(Event(stage=self.stage, kind="progress", text=text, done=done, total=total))
