from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CURSOR = re.compile(r"\x1b\[[0-9;?]*[A-HJKhl]")

SHOW = """
from edgetl.cli.console import Console
from edgetl.pipeline.events import Event
console = Console()
with console.progress() as listen:
    listen(Event(stage="export", kind="start"))
    listen(Event(stage="export", kind="progress", text="images", done=1, total=2))
    listen(Event(stage="export", kind="note", text="checked 2 images"))
    listen(Event(stage="export", kind="done", seconds=1.5))
from edgetl.cli.plan_view import show_plan
from edgetl.cli.console import results_screen
from edgetl.pipeline.plan import Plan
from edgetl.pipeline.readiness import Check
check = Check(what="config", detail="it loads")
show_plan(Plan(name="a", version="1", until="data", folder="runs/a", stages=(), checks=(check,)),
          results_screen())
"""


def environment(**values: str) -> dict[str, str]:
    ruling = ("NO_COLOR", "FORCE_COLOR", "TERM", "COLORTERM", "TTY_COMPATIBLE", "COLUMNS")
    return {name: value for name, value in os.environ.items() if name not in ruling} | values


def on_a_terminal(**values: str) -> str:
    """What a terminal is sent."""
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", SHOW], stdout=child, stderr=child, env=environment(**values)
    ) as process:
        os.close(child)
        shown = b""
        try:
            while part := os.read(parent, 65536):
                shown += part
        except OSError:
            # Linux says the end of a terminal so.
            pass
        os.close(parent)
    assert process.returncode == 0, shown
    return shown.decode()


def test_a_terminal_gets_bars_and_colours() -> None:
    shown = on_a_terminal(TERM="xterm-256color")
    assert COLOUR.search(shown) and CURSOR.search(shown)
    assert "━" in shown


def test_no_color_takes_the_colours_away() -> None:
    shown = on_a_terminal(TERM="xterm-256color", NO_COLOR="1")
    colours = [code for code in COLOUR.findall(shown) if re.search(r"[34][0-9]", code)]
    assert colours == []
    assert "checked 2 images" in shown


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_dumb_terminal_gets_plain_lines(term: str) -> None:
    shown = on_a_terminal(TERM=term)
    assert "\x1b" not in shown
    assert "checked 2 images" in shown and "done in 1.5 s" in shown


@pytest.mark.parametrize("force", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_a_pipe_gets_plain_lines(force: dict[str, str]) -> None:
    process = subprocess.run(
        [sys.executable, "-c", SHOW],
        capture_output=True,
        text=True,
        check=True,
        env=environment(TERM="xterm-256color", **force),
    )
    assert "\x1b" not in process.stdout + process.stderr
    assert "checked 2 images" in process.stderr
    assert "ok  config       it loads" in process.stdout
