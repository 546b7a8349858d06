"""The picture of a comparison: transferability against latency, as an SVG file of its own."""

from __future__ import annotations

from importlib.resources import files

from edgetl.extras import extra
from edgetl.pipeline.choose_rank import BackboneFound
from edgetl.pipeline.choose_result import Choice
from edgetl.report.labels import Label, place
from edgetl.report.numbers import clean, significant
from edgetl.report.theme import axes, canvas, colour, to_svg
from edgetl.report.ticks import log_limits, log_ticks

with extra("report"):
    from matplotlib.axes import Axes

_WIDTH, _HEIGHT = 520.0, 340.0
_HEAD = '<svg class="plot" '
_FONT = "system-ui, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
# Colour and marker of each verdict: neither is the only one that tells them apart.
_MARKS = {"ship": ("pass", "o"), "over budget": ("fail", "X"), "harms": ("unsure", "D")}


def picture_of(choice: Choice) -> str | None:
    """An SVG document: a point a backbone, its latency with the interval, and the budget.

    Backbones that were dropped before their features were computed are drawn at the foot.

    Returns:
        None when no backbone was measured.
    """
    found = [one for one in choice.found if one.fastest is not None]
    if not found:
        return None
    scored = [float(one.scores["logme"]) for one in found if one.scores is not None]
    low, high = (min(scored), max(scored)) if scored else (0.0, 0.0)
    span = max(high - low, 1e-3)
    foot = low - 0.25 * span
    with canvas(_HEIGHT, width=_WIDTH) as figure:
        plot = axes(figure, left=66, right=18, top=12, bottom=40)
        plot.set_xscale("log")
        plot.set_xlim(*_limits(found, choice.budget_ms))
        plot.set_ylim(foot - 0.12 * span, high + 0.15 * span)
        plot.locator_params(axis="y", nbins=5)
        plot.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "−"))
        _draw_budget(plot, choice.budget_ms)
        heights = [foot if one.scores is None else float(one.scores["logme"]) for one in found]
        for one, height in zip(found, heights, strict=True):
            _draw(plot, one, height)
        ticks = log_ticks(*plot.get_xlim())
        plot.set_xticks(ticks, [significant(tick, 2) for tick in ticks], minor=False)
        plot.set_xticks([], minor=True)
        plot.set_xlabel("p50 of its fastest harmless candidate, ms (log scale)")
        plot.set_ylabel("LogME (higher transfers better)")
        names = choice.names
        place(
            plot,
            [
                _label(one, names[one.backbone.label], height)
                for one, height in zip(found, heights, strict=True)
            ],
        )
        told = "; ".join(f"{one.backbone.label}: {one.told}, {one.reason}" for one in found)
        svg = to_svg(figure, name="choose", label=f"Transferability against latency. {told}.")
    return _standing_alone(str(svg))


def _limits(found: list[BackboneFound], budget_ms: float) -> tuple[float, float]:
    ends = [end for one in found if (fast := one.fastest) for end in (fast.low, fast.high)]
    return log_limits([*ends, budget_ms], pad=1.5)


def _draw_budget(plot: Axes, budget_ms: float) -> None:
    plot.axvspan(budget_ms, plot.get_xlim()[1], facecolor=colour("shade"), linewidth=0)
    plot.axvline(budget_ms, color=colour("ink"), linewidth=1.2)
    plot.annotate(
        "the budget",
        (budget_ms, plot.get_ylim()[0]),
        xytext=(4, 4),
        textcoords="offset points",
        color=colour("muted"),
        fontsize=10,
    )


def _draw(plot: Axes, found: BackboneFound, height: float) -> None:
    fastest = found.fastest
    assert fastest is not None
    role, marker = _MARKS[found.verdict]
    ink = colour(role)
    plot.plot([fastest.low, fastest.high], [height] * 2, color=ink, linewidth=2, alpha=0.6)
    hollow = "none" if found.scores is None else ink
    plot.plot(fastest.p50_ms, height, marker, color=ink, markersize=8, markerfacecolor=hollow)


def _label(found: BackboneFound, name: str, height: float) -> Label:
    assert found.fastest is not None
    return Label(
        x=found.fastest.p50_ms,
        y=height,
        text=clean(name, 24),
        bold=found.rank == 1,
    )


def _standing_alone(svg: str) -> str:
    """The figure with the colours that a report's page would give it, light and dark."""
    style = files("edgetl.report").joinpath("page.css").read_text(encoding="utf-8")
    colours = style[: style.index("* {")]
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{_WIDTH:g}" height="{_HEIGHT:g}" font-family="{_FONT}" '
        'style="background: var(--surface)" '
    )
    begin, end = svg.index(_HEAD) + len(_HEAD), svg.index(">") + 1
    return f"{head}{svg[begin:end]}<style>{colours}</style>{svg[end:]}\n"
