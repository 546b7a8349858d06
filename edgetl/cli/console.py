"""What a person sees: a progress bar on a terminal, plain lines elsewhere, the closing table.

Progress goes to standard error, results to standard output.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console as Screen
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from edgetl.pipeline.events import Event, Listener, ignore
from edgetl.pipeline.release import ReleaseResult
from edgetl.pipeline.summary import Row
from edgetl.report.numbers import significant

WIDTH = 100
# Without a terminal a line now and then shows that the work goes on, and does not fill a log.
_PLAIN_SECONDS = 15.0

_STYLES = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}


def results_screen() -> Screen:
    """Where results are printed: standard output."""
    return _screen(sys.stdout)


def _screen(stream: TextIO) -> Screen:
    """A terminal of any width, in colour; elsewhere plain text, `WIDTH` columns wide.

    NO_COLOR (https://no-color.org) takes the colours away, and so does a terminal that calls
    itself dumb.
    """
    terminal = stream.isatty()
    plain = not terminal or os.environ.get("TERM", "") in ("", "dumb", "unknown")
    return Screen(
        file=stream,
        width=None if terminal else WIDTH,
        highlight=False,
        # "folder:abc:" is no picture.
        emoji=False,
        force_terminal=terminal and not plain,
        color_system=None if plain else "auto",
    )


class Console:
    """Shows a release.

    Args:
        quiet: Show nothing but errors (which the caller prints).
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._results = results_screen()
        self._progress = _screen(sys.stderr)

    @contextmanager
    def progress(self) -> Iterator[Listener]:
        """Give a listener that shows the stages as they run."""
        if self._quiet:
            yield ignore
        elif self._progress.is_terminal:
            with _bars(self._progress) as listen:
                yield listen
        else:
            yield _PlainLines(self._progress).hear

    def show_result(self, result: ReleaseResult, stage: str) -> None:
        """Print the closing table, the verdict, where the bundle is, and what to try next."""
        if self._quiet:
            return
        if result.verdict is None:
            self._results.print(f"{stage}: done, in {result.folder / stage}", soft_wrap=True)
            return
        table, dropped = _tables(result.rows, self._results)
        self._results.print(table)
        if dropped:
            self._results.print(
                f"left out  {', '.join(dropped)}: the screen is {self._results.width} columns wide;"
                " --json FILE has all",
                soft_wrap=True,
            )
        self._results.print(Text(f"verdict  {result.verdict}", style=_STYLES[result.verdict]))
        for line in _next_steps(result, stage):
            self._results.print(line, soft_wrap=True, markup=False)


@contextmanager
def _bars(screen: Screen) -> Iterator[Listener]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as progress:
        task: TaskID | None = None

        def hear(event: Event) -> None:
            nonlocal task
            if event.kind == "progress":
                label = f"{event.stage:<9} {event.text}"
                if task is None:
                    task = progress.add_task(label, total=event.total)
                progress.update(task, description=label, completed=event.done, total=event.total)
            else:
                if task is not None and event.kind in ("start", "done"):
                    progress.remove_task(task)
                    task = None
                if line := _line(event):
                    screen.print(line, markup=False, soft_wrap=True)

        yield hear


class _PlainLines:
    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._last = time.monotonic()

    def hear(self, event: Event) -> None:
        if event.kind == "progress":
            if time.monotonic() - self._last < _PLAIN_SECONDS:
                return
            line: str | None = f"{event.stage:<9} {event.text} {event.done}/{event.total}"
        else:
            line = _line(event)
        if line:
            self._last = time.monotonic()
            self._screen.print(line, markup=False, soft_wrap=True)


def _line(event: Event) -> str | None:
    match event.kind:
        case "note":
            return f"{event.stage:<9} {event.text}"
        case "fresh":
            return f"{event.stage:<9} unchanged, taken from the last run"
        case "done":
            return f"{event.stage:<9} done in {event.seconds:.1f} s"
        case _:
            return None


# What a narrow screen does without, first to last; the variant, its p50 and top-1, and the verdict
# always stay.
_DROPPED = ("backend", "prec", "MB", "p99 ms", "×fp32", "ECE", "NLL", "on", "×ref")
_WORDS = frozenset({"variant", "backend", "prec", "on", "verdict"})


def _tables(rows: tuple[Row, ...], screen: Screen) -> tuple[Table, tuple[str, ...]]:
    """The widest table that the screen shows whole, and the columns that it leaves out."""
    for count in range(len(_DROPPED)):
        table = _table(rows, _DROPPED[:count])
        if _width(table, screen) <= screen.width:
            return table, _DROPPED[:count]
    return _table(rows, _DROPPED), _DROPPED


def _width(table: Table, screen: Screen) -> int:
    """Columns that the table takes where there is room without end."""
    return Measurement.get(screen, screen.options.update_width(10 * WIDTH), table).maximum


def _table(rows: tuple[Row, ...], dropped: tuple[str, ...]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    cells = [_cells(row) for row in rows]
    names = [name for name in _HEADS if name not in dropped]
    for name in names:
        # On a screen for which even this is too wide, a figure is broken and never cut.
        table.add_column(name, justify="left" if name in _WORDS else "right", overflow="fold")
    for row in cells:
        table.add_row(*(row[name] for name in names))
    return table


_HEADS = (
    *("variant", "backend", "prec", "MB", "p50 ms", "p99 ms", "×ref", "×fp32"),
    *("top-1 %", "NLL", "ECE", "on", "verdict"),
)


def _cells(row: Row) -> dict[str, str | Text]:
    return {
        "variant": row.id,
        "backend": row.backend,
        "prec": row.precision,
        "MB": significant(row.size_mb),
        "p50 ms": significant(row.p50_ms),
        "p99 ms": significant(row.p99_ms),
        "×ref": significant(row.speed_over_reference),
        "×fp32": significant(row.speed_over_fp32),
        "top-1 %": f"{row.top1 * 100:.2f}",
        "NLL": f"{row.nll:.4f}",
        "ECE": f"{row.ece:.4f}",
        "on": row.split,
        "verdict": Text(row.verdict, style=_STYLES.get(row.verdict, "")),
    }


def _program() -> str:
    """How this edgetl is called: by name when it is on the path, else by its place."""
    if shutil.which("edgetl"):
        return "edgetl"
    return os.path.relpath(Path(sys.executable).with_name("edgetl"))


def _next_steps(result: ReleaseResult, stage: str) -> list[str]:
    gate = result.folder / "gate"
    lines = [f"judged   {gate / 'verdict.md'} (also .json, .xml)"]
    if result.report is not None:
        lines.append(f"report   {result.report}")
    if result.verdict == "INCONCLUSIVE":
        lines += [f"open     {sentence}" for sentence in result.open_gates]
    elif result.verdict == "FAIL":
        lines.append("next     read the verdict: it names the gate, the figure and the limit")
    elif result.bundle is not None:
        golden = sorted(result.bundle.glob("golden/*.png"))
        lines.append(f"bundle   {result.bundle}")
        lines.append(
            "next     "
            + shlex.join(
                [_program(), "predict", str(result.bundle), str(golden[0])]
                if golden
                else [_program(), "selftest", str(result.bundle)]
            )
        )
    elif stage == "gate":
        lines.append("next     edgetl bundle CONFIG packs the winners")
    return lines
