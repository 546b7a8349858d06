"""The intervals against their margins: a forest plot for each judged variant."""

from __future__ import annotations

from collections.abc import Sequence

from edgetl.extras import extra
from edgetl.report.blocks import Plot, Plots, Section
from edgetl.report.content import Table
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import clean, finite, number, significant, times
from edgetl.report.theme import OUTCOMES, axes, canvas, colour, to_svg
from edgetl.report.verdict import amount, gate_name

with extra("report"):
    from matplotlib.axes import Axes

_ROW = 46.0
_LOW, _HIGH = -1.35, 2.1


def section(facts: ReleaseFacts) -> Section | None:
    """One panel a judged variant; None when nothing was judged."""
    plots = tuple(
        _panel(facts, name, judged)
        for name, entry in facts.judged.items()
        if (judged := _judged(entry))
    )
    if not plots:
        return None
    return Section(
        id="margins",
        title="Intervals against the margins",
        read=(
            "Each bar spans where the true harm may lie, as a share of its limit; a gate passes "
            "when the whole bar is left of the limit, fails when it is right of it, and is "
            "undecided otherwise."
        ),
        blocks=(Plots(plots=plots),),
    )


def _judged(entry: Table) -> list[Table]:
    return [
        gate
        for gate in entry.get("gates", ())
        if all(finite(gate.get(key)) is not None for key in ("estimate", "lower", "upper"))
        and (finite(gate.get("limit")) or 0) > 0
    ]


def _panel(facts: ReleaseFacts, name: str, gates: Sequence[Table]) -> Plot:
    with canvas(38 + _ROW * len(gates)) as figure:
        plot = axes(figure, left=14, right=14, top=2, bottom=34)
        plot.set_xlim(_LOW, _HIGH)
        plot.set_ylim(len(gates), 0)
        for row, gate in enumerate(gates):
            _draw_gate(plot, row, gate, gate_name(facts, gate["name"]))
        plot.set_yticks([])
        plot.spines["left"].set_visible(False)
        plot.set_xticks([0, 1, 2], ["no harm", "the limit", "twice"])
        plot.set_xlabel("share of the margin")
        shares = "; ".join(
            f"{gate_name(facts, g['name'])} {number(g['lower'] / g['limit'], 2)} "
            f"to {number(g['upper'] / g['limit'], 2)}, {clean(g['verdict'])}"
            for g in gates
        )
        svg = to_svg(
            figure,
            name=f"margins {name}",
            label=f"Intervals of {clean(name)} as shares of their limits: {shares}.",
        )
    alpha = finite(facts.judged[name].get("alpha"))
    level = "" if alpha is None else f", bounds one-sided at {100 * (1 - alpha):g} %"
    return Plot(
        svg=svg,
        title=f"{clean(name)}: {clean(facts.judged[name].get('verdict', ''))}",
        caption=_latency_caption(gates),
        scope=facts.scope() + level + _rounds(gates),
    )


def _latency_caption(gates: Sequence[Table]) -> str:
    if not any(gate["name"] == "latency" for gate in gates):
        return ""
    return "The p50 is a ratio that begins at 0×: all of it up to the limit is harmless."


def _rounds(gates: Sequence[Table]) -> str:
    found = [gate["n"] for gate in gates if gate["name"] == "latency"]
    return f"; latency over {found[0]} rounds" if found else ""


def _draw_gate(plot: Axes, row: int, gate: Table, word: str) -> None:
    name, limit = str(gate["name"]), float(gate["limit"])
    low, middle, high = (float(gate[key]) / limit for key in ("lower", "estimate", "upper"))
    role, marker = OUTCOMES.get(str(gate["verdict"]), ("muted", "o"))
    ink = colour(role)
    y = row + 0.72
    top, bottom = row + 0.54, row + 0.9
    plot.fill_between([1, _HIGH], top, bottom, facecolor=colour("shade"), linewidth=0)
    plot.vlines(0, top, bottom, color=colour("muted"), linewidth=0.8)
    plot.vlines(1, top, bottom, color=colour("ink"), linewidth=1.4)
    ends = [_inside(low), _inside(high)]
    if low > _HIGH:
        # All of it lies beyond the figure: a stub points there, with the share in words.
        ends[0] = _HIGH - 0.3
        plot.text(
            ends[0] - 0.08,
            y,
            f"{significant(low, 2)}–{significant(high, 2)}×",
            ha="right",
            va="center",
            color=ink,
            fontsize=10,
        )
    plot.plot(ends, [y, y], color=ink, linewidth=5, alpha=0.38, solid_capstyle="butt")
    for end, sign, beyond in ((_LOW, "<", low < _LOW), (_HIGH, ">", high > _HIGH)):
        if beyond:
            plot.plot(end, y, sign, color=ink, markersize=6, clip_on=False)
    if name == "latency":
        _draw_ends(plot, y, limit, low=low, high=high)
    if _inside(middle) == middle:
        plot.plot(middle, y, marker, color=ink, markersize=7)
    plot.text(_LOW, row + 0.28, word, va="center", color=colour("ink"))
    lower, upper = (amount(name, gate[key], limit=limit) for key in ("lower", "upper"))
    # The unit is the upper bound's alone.
    shown = f"{lower.rstrip('×').partition(' ')[0]} to {upper}"
    plot.text(
        _HIGH,
        row + 0.28,
        f"{shown} · {clean(gate['verdict'])}",
        va="center",
        ha="right",
        color=colour("muted"),
        fontsize=10,
    )


def _draw_ends(plot: Axes, y: float, limit: float, *, low: float, high: float) -> None:
    """A latency is a ratio: its row begins at 0×, which is no answer to what does no harm."""
    words = [(-0.05, "0×", "right")]
    if high <= 1:
        words.append((1.05, times(limit), "left"))
    elif low >= 1:
        words.append((0.95, times(limit), "right"))
    for x, word, side in words:
        plot.text(x, y, word, ha=side, va="center", color=colour("muted"), fontsize=10)


def _inside(value: float) -> float:
    return min(max(value, _LOW), _HIGH)
