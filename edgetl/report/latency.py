"""Latency: how each side's calls are spread, and the ratios with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgetl.bench.compare import Ratio, block_medians, ratio
from edgetl.extras import extra
from edgetl.report.blocks import Block, Note, Plot, Plots, Section
from edgetl.report.content import CONTROL, REFERENCE
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import clean, finite, significant, times
from edgetl.report.theme import axes, canvas, colour, to_svg
from edgetl.report.ticks import log_limits, log_ticks

with extra("report"):
    from markupsafe import Markup
    from matplotlib.axes import Axes

_ROW = 40.0


def section(facts: ReleaseFacts) -> Section | None:
    """Distributions of the calls and speed-ups with intervals; None without samples."""
    samples = facts.data.samples
    names = [name for name in (REFERENCE, *facts.variants) if name in samples]
    if not names:
        return None
    scope = _scope(facts, samples[names[0]])
    plots = [
        Plot(
            svg=_draw_calls(facts, names),
            title="Every call",
            caption="Line: 1st to 99th percentile; bar: the middle half; mark: p50; "
            "ticks: the median of each round.",
            scope=scope,
        )
    ]
    if REFERENCE in names and len(names) > 1:
        plots.append(
            Plot(
                svg=_draw_ratios(facts, names),
                title=f"Times as fast as {facts.reference_name}",
                caption="From paired rounds of one interleaved run, 95 % intervals. "
                + _control(facts),
                scope=scope,
            )
        )
    blocks: list[Block] = [Plots(plots=tuple(plots))]
    machine = facts.data.machine or (facts.data.bench or {}).get("machine", {})
    blocks += [
        Note(text=f"While measuring: {clean(warning, 300)}.", tone="unsure")
        for warning in machine.get("warnings", ())
    ]
    return Section(
        id="latency",
        title="Latency",
        read=(
            "All sides ran in turn, block by block, so that what slows the machine slows all; the "
            f"control is {facts.reference_name} against itself and should sit on 1."
        ),
        blocks=tuple(blocks),
    )


def _scope(facts: ReleaseFacts, seconds: NDArray[np.float64]) -> str:
    rounds, calls = seconds.shape
    cell = next(iter(facts.cells.values()), {})
    setting = f", batch {cell['batch']}, {cell['threads']} threads" if cell else ""
    return f"n = {rounds} rounds × {calls} calls each{setting}"


def _control(facts: ReleaseFacts) -> str:
    control = (facts.data.bench or {}).get("control")
    if not control:
        return "No control was measured."
    word = "equivalent" if control["equivalent"] else "NOT equivalent: the machine was too noisy"
    margin = f"{100 * float(control['margin']):g} %"
    # The stored ratio is of latencies; the figure shows speeds.
    low, high = (significant(1 / control[key]) for key in ("upper", "lower"))
    return f"Control: 90 % interval {low} to {high}, {word} within {margin}."


def _draw_calls(facts: ReleaseFacts, names: Sequence[str]) -> Markup:
    spread = {
        name: np.percentile(1e3 * facts.data.samples[name], [1, 25, 50, 75, 99]) for name in names
    }
    low, high = log_limits([value for found in spread.values() for value in found])
    with canvas(44 + _ROW * len(names)) as figure:
        plot = _rows(axes(figure, left=12, right=12, top=0, bottom=40), len(names))
        _log_axis(plot, low, high, "latency of a call, ms (log scale)", "", len(names))
        for row, name in enumerate(names):
            role, marker = facts.series(name)
            _draw_spread(plot, row, spread[name], colour(role), marker)
            medians = 1e3 * block_medians(facts.data.samples[name])
            plot.plot(medians, [row + 0.9] * len(medians), "|", color=colour(role), markersize=4)
            _row_text(plot, row, name, f"p50 {significant(spread[name][2])} ms")
        described = "; ".join(
            f"{clean(name)} {significant(found[2])} ms, 99 % of calls under {significant(found[4])}"
            for name, found in spread.items()
        )
        return to_svg(figure, name="latency", label=f"Latency of each side: {described}.")


def _draw_spread(plot: Axes, row: int, spread: NDArray[np.float64], ink: str, marker: str) -> None:
    y = row + 0.68
    plot.plot(spread[[0, 4]], [y, y], color=ink, linewidth=1.2, alpha=0.7)
    plot.plot(spread[[1, 3]], [y, y], color=ink, linewidth=6, alpha=0.38)
    plot.plot(spread[2], y, marker, color=ink, markersize=6.5)


def _draw_ratios(facts: ReleaseFacts, names: Sequence[str]) -> Markup:
    samples = facts.data.samples
    found: dict[str, Ratio] = {}
    for name in (CONTROL, *names):
        if name in samples and name != REFERENCE:
            found[name] = ratio(samples[REFERENCE], samples[name])
    ends = [value for one in found.values() for value in (one.lower, one.upper)]
    low, high = log_limits([*ends, 0.9, 1.1])
    with canvas(44 + _ROW * len(found)) as figure:
        plot = _rows(axes(figure, left=12, right=12, top=0, bottom=40), len(found))
        label = f"times as fast as {facts.reference_name} (log scale)"
        _log_axis(plot, low, high, label, "×", len(found))
        _bands(plot, [1], len(found), "ink", 1.2)
        for row, (name, one) in enumerate(found.items()):
            role, marker = facts.series(name)
            ink = colour(role)
            y = row + 0.74
            plot.plot([one.lower, one.upper], [y, y], color=ink, linewidth=5, alpha=0.38)
            plot.plot(one.estimate, y, marker, color=ink, markersize=6.5)
            word = f"control: {facts.reference_name} again" if name == CONTROL else name
            _row_text(
                plot,
                row,
                word,
                f"{times(one.estimate)} [{significant(one.lower)}, {significant(one.upper)}]",
            )
        described = "; ".join(
            f"{clean(name)} {times(one.estimate)}, {significant(one.lower)} to "
            f"{significant(one.upper)}"
            for name, one in found.items()
        )
        heard = f"Times as fast as {facts.reference_name}: {described}."
        return to_svg(figure, name="ratios", label=heard)


def _rows(plot: Axes, rows: int) -> Axes:
    plot.set_ylim(rows, 0)
    plot.set_yticks([])
    plot.spines["left"].set_visible(False)
    return plot


def _log_axis(plot: Axes, low: float, high: float, label: str, unit: str, rows: int) -> None:
    plot.set_xscale("log")
    plot.set_xlim(low, high)
    ticks = log_ticks(low, high)
    plot.set_xticks(ticks, [f"{finite(round(tick, 6)):g}{unit}" for tick in ticks])
    plot.set_xticks([], minor=True)
    # Only beside the marks: a line through the whole figure would cross the names.
    _bands(plot, ticks, rows, "line", 0.8)
    plot.set_xlabel(label)


def _bands(plot: Axes, at: Sequence[float], rows: int, role: str, width: float) -> None:
    for row in range(rows):
        plot.vlines(at, row + 0.5, row + 0.97, color=colour(role), linewidth=width)


def _row_text(plot: Axes, row: int, name: str, figures: str) -> None:
    across = plot.get_yaxis_transform()
    for x, text, side, role in (
        (0, clean(name, 28), "left", "ink"),
        (1, figures, "right", "muted"),
    ):
        plot.text(
            x,
            row + 0.26,
            text,
            transform=across,
            ha=side,
            va="center",
            color=colour(role),
            fontsize=10.5 if role == "ink" else 10,
        )
