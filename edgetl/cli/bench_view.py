"""How a bench looks on a terminal: tables that fit 100 columns, the control, the warnings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgetl.bench.baseline import Comparison
from edgetl.bench.cells import Cell
from edgetl.bench.compare import Ratio
from edgetl.bench.result import BenchResult
from edgetl.bench.scenarios import SCENARIO
from edgetl.cli.console import Console, results_screen
from edgetl.pipeline.events import Reporter
from edgetl.report.numbers import DASH, clean, significant

_STYLES = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}


def show_bench(result: BenchResult) -> None:
    """Print what was measured: latencies, cold starts where there are any, control, warnings."""
    screen = results_screen()
    closed = [cell for cell in result.cells if cell.scenario == SCENARIO]
    loaded = [cell for cell in result.cells if cell.scenario != SCENARIO]
    if closed:
        screen.print(_latencies(closed))
    if loaded:
        screen.print(_loads(loaded))
    if cold := [cell for cell in result.cells if cell.load_ms is not None]:
        screen.print(_cold_starts(cold))
    for line in _said(result):
        screen.print(line, soft_wrap=True, markup=False)


def show_comparison(comparison: Comparison) -> None:
    """Print new over old, the verdict and what a reader has to know."""
    screen = results_screen()
    screen.print(
        _table(
            ("variant", "batch", "threads", "old p50 ms", "new p50 ms", "new over old", "verdict"),
            (
                (
                    clean(one.variant, 30),
                    str(one.batch),
                    DASH if one.threads is None else str(one.threads),
                    significant(one.old_p50_ms),
                    significant(one.new_p50_ms),
                    _ratio(one.ratio, 3),
                    Text(one.outcome, style=_STYLES[one.outcome]),
                )
                for one in comparison.compared
            ),
        )
    )
    verdict = comparison.verdict
    screen.print(
        Text(f"verdict  {verdict}", style=_STYLES[verdict]).append(
            f" at a margin of {comparison.margin:.3g} ({comparison.method}; bounds one-sided 95 %)",
            style="default",
        )
    )
    for note in comparison.notes:
        screen.print(f"note     {note}", soft_wrap=True, markup=False)


@contextmanager
def rounds_shown(*, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Give what shows the rounds as they are done."""
    with Console(quiet=quiet).progress() as listen:
        reporter = Reporter("bench", listen)

        def progress(done: int) -> None:
            reporter.progress("interleaved rounds, until the ratio is known closely", done, done)

        yield progress


def _latencies(cells: Sequence[Cell]) -> Table:
    return _table(
        ("variant", "p50 ms", "95 % interval", "p90", "p99", "p99 ≤", "over reference", "p90 over"),
        (
            (
                clean(cell.variant, 18),
                significant(cell.p50_ms),
                _interval(cell.p50_interval_ms),
                significant(cell.p90_ms),
                significant(cell.p99_ms),
                _or_dash(cell.p99_upper_ms),
                _ratio(cell.ratio_to_reference, 2),
                _ratio(cell.p90_ratio_to_reference, 2),
            )
            for cell in cells
        ),
    )


def _loads(cells: Sequence[Cell]) -> Table:
    return _table(
        ("variant", "scenario", "asked/s", "answered/s", "p50 ms", "p90", "p99", "p99 ≤", "valid"),
        (
            (
                clean(cell.variant, 18),
                cell.scenario.partition("-")[2],
                _or_dash(cell.target_qps),
                significant(cell.throughput),
                significant(cell.p50_ms),
                significant(cell.p90_ms),
                significant(cell.p99_ms),
                _or_dash(cell.p99_upper_ms),
                "yes" if cell.valid else "no",
            )
            for cell in cells
        ),
    )


def _cold_starts(cells: Sequence[Cell]) -> Table:
    return _table(
        ("cold start", "load ms", "first call ms", "peak MB", "files MB"),
        (
            (
                clean(cell.variant, 18),
                _or_dash(cell.load_ms),
                _or_dash(cell.first_call_ms),
                _or_dash(cell.peak_rss_mb),
                _or_dash(cell.size_mb),
            )
            for cell in cells
        ),
    )


def _said(result: BenchResult) -> Iterator[str]:
    rounds = {f"{cell.rounds} rounds of {cell.calls} calls" for cell in result.cells}
    cell = result.cells[0]
    yield (
        f"measured {' or '.join(sorted(rounds))}, batch {cell.batch}, "
        f"{cell.threads} thread{'s' if cell.threads > 1 else ''}; latencies in ms"
    )
    if (control := result.control) is not None:
        yield (
            f"control  {control.of} against itself {control.estimate:.3f} "
            f"[{control.lower:.3f}, {control.upper:.3f}], "
            + ("equivalent" if control.equivalent else "NOT equivalent")
            + f" within {control.margin:.0%}"
        )
    for warning in result.machine.get("warnings", ()):
        yield f"warning  {warning}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    for position, name in enumerate(head):
        # Broken and never cut, where a terminal is too narrow.
        table.add_column(Text(name), justify="right" if position else "left", overflow="fold")
    for row in rows:
        table.add_row(*(one if isinstance(one, Text) else Text(one) for one in row))
    return table


def _ratio(found: Ratio | None, digits: int) -> str:
    if found is None:
        return DASH
    return f"{found.estimate:.{digits}f} [{found.lower:.{digits}f}, {found.upper:.{digits}f}]"


def _interval(found: tuple[float, float] | None) -> str:
    return DASH if found is None else f"{significant(found[0])}–{significant(found[1])}"


def _or_dash(value: float | None) -> str:
    return DASH if value is None else significant(value)
