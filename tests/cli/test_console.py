from __future__ import annotations

import dataclasses
import io
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console as Screen

from edgetl.cli import console
from edgetl.pipeline.release import ReleaseResult
from edgetl.pipeline.summary import Row

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


ROW = Row(
    id="ort-int8",
    backend="onnxruntime",
    precision="int8",
    size_mb=0.02474,
    p50_ms=0.018778,
    p99_ms=0.02144,
    speed_over_reference=12.345,
    speed_over_fp32=None,
    top1=0.98333,
    nll=0.27491,
    ece=0.01997,
    split="test",
    verdict="INCONCLUSIVE",
)


RESULT = ReleaseResult(
    folder=Path("runs/a"), verdict="INCONCLUSIVE", bundle=None, report=None, rows=(ROW,)
)


def shown_result(width: int, monkeypatch: pytest.MonkeyPatch, **values: Any) -> str:
    out = io.StringIO()
    screen = Screen(file=out, width=width, highlight=False)
    monkeypatch.setattr(console, "results_screen", lambda: screen)
    monkeypatch.setattr(console.shutil, "which", lambda name: "/bin/edgetl")
    console.Console().show_result(dataclasses.replace(RESULT, **values), "gate")
    return out.getvalue()


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


def test_a_wide_screen_shows_every_column_and_tiny_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = shown_result(100, monkeypatch)
    assert "left out" not in shown and max(map(len, shown.splitlines())) <= 100
    for figure in ("0.0247", "0.0188", "0.0214", "12.3", "98.33", "0.2749", "0.0200", "–"):
        assert figure in shown.split()


@pytest.mark.parametrize("width", [100, 90, 80, 60, 44])
def test_a_narrow_screen_loses_columns_and_never_a_part_of_a_figure(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown_result(width, monkeypatch).splitlines()
    heads, row = lines[0], lines[2]
    assert "…" not in "".join(lines) and len(row) <= width
    for words in (("variant", "ort-int8"), ("p50 ms", "0.0188"), ("top-1 %", "98.33")):
        assert words[0] in heads and words[1] in row
    assert row.endswith("INCONCLUSIVE")
    left_out = [line for line in lines if line.startswith("left out")]
    kept = [name for name in console._HEADS if name in heads]
    if len(kept) == len(console._HEADS):
        assert left_out == []
    else:
        assert "--json" in left_out[0]
        named = left_out[0].removeprefix("left out  ").split(":")[0].split(", ")
        assert sorted(named) == sorted(set(console._HEADS) - set(kept))
        assert named[0] == "backend"


def test_a_screen_too_narrow_for_any_table_breaks_figures_and_cuts_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "…" not in shown_result(20, monkeypatch)


def test_the_next_command_can_be_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "my run" / "a-1.edgetl"
    (bundle / "golden").mkdir(parents=True)
    told = shown_result(100, monkeypatch, verdict="PASS", bundle=bundle).splitlines()[-1]
    assert shlex.split(told) == ["next", "edgetl", "selftest", str(bundle)]
    (bundle / "golden" / "0.png").touch()
    told = shown_result(100, monkeypatch, verdict="PASS", bundle=bundle).splitlines()[-1]
    assert shlex.split(told)[-3:] == ["predict", str(bundle), str(bundle / "golden" / "0.png")]
