"""A waterfall on a screen: a row a step, its bar, and the layers with the lowest SQNR."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table

from edgetl.cli.console import results_screen
from edgetl.pipeline.waterfall import Waterfall
from edgetl.pipeline.waterfall_steps import Step
from edgetl.report.numbers import clean

_BAR = 20
_PARTS = " ▏▎▍▌▋▊▉█"
_DASH = "–"
# Below this a figure is the rounding of float32.
_LEAST = 1e-8


def print_waterfalls(found: Sequence[Waterfall]) -> None:
    """Print each with its notes; nothing is wider than 100 columns on a plain screen."""
    screen = results_screen()
    for waterfall in found:
        for part in _parts(waterfall):
            screen.print(part, markup=False)


def _parts(waterfall: Waterfall) -> Iterator[RenderableType]:
    yield (
        f"{waterfall.variant} against {waterfall.total.before}, step by step, on {waterfall.n} "
        f"{waterfall.split} inputs"
    )
    yield _steps(waterfall)
    yield _notes(waterfall)
    if waterfall.layers:
        yield (
            f"\nthe layers with the lowest SQNR, on {waterfall.layer_n} inputs, each alone and "
            "with all others quantized"
        )
        yield _layers(waterfall)


def _notes(waterfall: Waterfall) -> Table:
    notes = Table.grid(padding=(0, 2))
    for step in waterfall.steps:
        if step.note:
            why = "skipped: " if step.skipped else ""
            notes.add_row(step.name, why + clean(step.note, 400))
    return notes


def _steps(waterfall: Waterfall) -> Table:
    table = _table("step", "to", ">flips", ">mean KL", ">max Δp", "mean KL, drawn")
    most = max((step.mean_kl for step in waterfall.steps), default=0.0)
    for step in waterfall.steps:
        table.add_row(*_row(step, bar(step.mean_kl, most)))
    table.add_section()
    # Its bar would not be comparable: it is no part of the sum.
    table.add_row(*_row(waterfall.total, ""))
    return table


def _row(step: Step, drawn: str) -> tuple[str, ...]:
    if step.skipped:
        return (step.name, "skipped", _DASH, _DASH, _DASH, "")
    share = f"{step.flips} ({step.flip_rate:.2%})".replace("%", " %")
    figures = (small(step.mean_kl), small(step.max_difference))
    return (step.name, step.after, share, *figures, drawn)


def _layers(waterfall: Waterfall) -> Table:
    table = _table("layer", "operator", ">SQNR dB", ">with all others dB")
    for layer in waterfall.layers:
        figures = (f"{layer.sqnr_db:.1f}", f"{layer.accumulated_db:.1f}")
        table.add_row(clean(layer.name, 40), clean(layer.operator, 20), *figures)
    return table


def _table(*heads: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in heads:
        right = head.startswith(">")
        table.add_column(
            head.removeprefix(">"), justify="right" if right else "left", overflow="fold"
        )
    return table


def small(value: float) -> str:
    """A figure that may be very small: to two digits, and 0 where float32 cannot tell.

    Example:
        >>> small(0.1234), small(0.00012), small(3e-10), small(0.0)
        ('0.12', '1.2e-04', '< 1e-08', '0')
    """
    if value == 0:
        return "0"
    if value < _LEAST:
        return "< 1e-08"
    return f"{value:.2g}" if value >= 1e-3 else f"{value:.1e}"


def bar(value: float, most: float) -> str:
    """A bar of up to 20 cells, to an eighth of a cell.

    Example:
        >>> bar(1.0, 1.0), bar(0.05, 1.0), bar(0.0, 1.0), bar(0.0, 0.0)
        ('████████████████████', '█', '', '')
    """
    if value < _LEAST:
        return ""
    # What is there is seen.
    eighths = max(1, round(value / most * _BAR * 8))
    whole, rest = divmod(eighths, 8)
    return _PARTS[8] * whole + _PARTS[rest].strip()
