"""Latency against harm on the validation split: all candidates, and which of them were chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgetl.extras import extra
from edgetl.gate.selection import SHARE_OF_MARGIN
from edgetl.report.blocks import Plot, Plots, Section
from edgetl.report.facts import ReleaseFacts
from edgetl.report.gates import LIMITS, kind_of_gate
from edgetl.report.labels import Label, place
from edgetl.report.numbers import clean, finite, number, significant
from edgetl.report.theme import axes, canvas, colour, to_svg
from edgetl.report.ticks import log_limits, log_ticks

with extra("report"):
    from markupsafe import Markup
    from matplotlib.axes import Axes


_LINE = 14.0
"""Two lines of the figure nearer than so many units leave no room for a word on each."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A candidate: latency, and the NLL that it adds with its upper bound."""

    id: str
    p50_ms: float
    harm: float
    upper: float
    chosen: bool


def section(facts: ReleaseFacts) -> Section | None:
    """The Pareto plot; None without a selection."""
    points = _points(facts)
    if not points:
        return None
    split = _split(facts)
    chosen = [clean(point.id) for point in points if point.chosen]
    return Section(
        id="tradeoff",
        title="Latency and harm",
        read=(
            "Down and to the left is better; the whisker reaches up to the bound of the harm, the "
            "stepped line joins those that nobody beats on both the latency and that bound, and a "
            "ring marks what was chosen."
        ),
        blocks=(
            Plots(
                plots=(
                    Plot(
                        svg=_draw(facts, points, _nll_scale(facts)),
                        title="NLL added",
                        caption="Chosen: " + (", ".join(chosen) or "none") + ".",
                        scope=facts.scope(split),
                    ),
                    *_worst(facts, split),
                )
            ),
        ),
    )


def frontier(points: Sequence[Point]) -> list[Point]:
    """Those that no other point beats in latency and in the bound of the harm, fastest first.

    Example:
        >>> def at(name, p50, upper):
        ...     return Point(id=name, p50_ms=p50, harm=0.0, upper=upper, chosen=False)
        >>> [p.id for p in frontier([at("a", 1, 3), at("b", 2, 1), at("c", 3, 2)])]
        ['a', 'b']
    """
    kept: list[Point] = []
    for point in sorted(points, key=lambda one: (one.p50_ms, one.upper)):
        if not kept or point.upper < kept[-1].upper:
            kept.append(point)
    return kept


def _split(facts: ReleaseFacts) -> str:
    compared = facts.data.verdict.get("selection", ())
    return str(compared[0].get("split", "val")) if compared else "val"


def _points(facts: ReleaseFacts) -> list[Point]:
    points = []
    for entry in (facts.data.selection or {}).get("entries", ()):
        p50, upper = finite(entry.get("p50_ms")), finite(entry.get("nll_upper"))
        harm = finite(entry.get("harms", {}).get("nll"))
        if p50 is None or upper is None or harm is None or p50 <= 0:
            continue
        points.append(
            Point(
                id=str(entry["id"]),
                p50_ms=p50,
                harm=harm,
                upper=upper,
                chosen=bool(entry.get("chosen")),
            )
        )
    return points


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """What a plot's vertical axis shows."""

    name: str
    axis: str
    limit: float | None
    digits: int = 4


def _nll_scale(facts: ReleaseFacts) -> _Scale:
    limit = finite(facts.data.verdict["policy"].get("max_nll_increase"))
    return _Scale(name="nll", axis="NLL added, nats", limit=limit)


def _worst(facts: ReleaseFacts, split: str) -> tuple[Plot, ...]:
    """The harm that comes nearest to its limit: what decides whether a candidate may compete."""
    policy = facts.data.verdict["policy"]
    limits = {gate: finite(policy.get(key)) for key, gate in LIMITS.items()}
    points = []
    for entry in (facts.data.selection or {}).get("entries", ()):
        shares = [
            value / limit
            for gate, harm in entry.get("harms", {}).items()
            if (limit := limits.get(kind_of_gate(gate))) and (value := finite(harm)) is not None
        ]
        p50 = finite(entry.get("p50_ms"))
        if shares and p50 is not None and p50 > 0:
            worst = max(shares)
            points.append(
                Point(
                    id=str(entry["id"]),
                    p50_ms=p50,
                    harm=worst,
                    upper=worst,
                    chosen=bool(entry.get("chosen")),
                )
            )
    if not points:
        return ()
    return (
        Plot(
            svg=_draw(facts, points, _Scale(name="worst", axis="share of its limit", limit=1.0)),
            title="The worst harm to the answers",
            caption="Of each candidate the harm nearest to its limit, as seen; over the dashed "
            "line it may not compete. Its latency has a limit of its own, which is judged apart.",
            scope=facts.scope(split),
        ),
    )


def _draw(facts: ReleaseFacts, points: Sequence[Point], scale: _Scale) -> Markup:
    low, high = log_limits([point.p50_ms for point in points], pad=1.35)
    heights = [value for point in points for value in (point.harm, point.upper)]
    top = max(*heights, 1.25 * scale.limit if scale.limit else 0.0, 1e-6)
    bottom = min(0.0, *heights)
    with canvas(280) as figure:
        plot = axes(figure, left=66, right=18, top=8, bottom=38)
        plot.set_xscale("log")
        plot.set_xlim(low, high)
        plot.set_ylim(bottom - 0.12 * (top - bottom), top + 0.08 * (top - bottom))
        plot.locator_params(axis="y", nbins=5)
        # Matplotlib's own would set a factor such as 1e6 over the title.
        plot.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "−"))
        if scale.limit:
            _draw_limit(plot, scale.limit, low)
        plot.axhline(0, color=colour("line"), linewidth=0.8)
        _draw_frontier(plot, points, high)
        for point in points:
            _draw_point(plot, facts, point)
        ticks = log_ticks(low, high)
        plot.set_xticks(ticks, [significant(tick, 2) for tick in ticks], minor=False)
        plot.set_xticks([], minor=True)
        plot.set_xlabel("p50, ms (log scale)")
        plot.set_ylabel(scale.axis)
        place(plot, _labels(points), bars=_bars(points))
        described = "; ".join(
            f"{clean(point.id)} {significant(point.p50_ms)} ms, {number(point.harm, scale.digits)}"
            + (f", at most {number(point.upper, 4)}" if point.upper > point.harm else "")
            + (", chosen" if point.chosen else "")
            for point in points
        )
        return to_svg(
            figure,
            name=f"tradeoff {scale.name}",
            label=f"{scale.axis} against p50 of each candidate: {described}.",
        )


def _draw_limit(plot: Axes, limit: float, left: float) -> None:
    plot.axhspan(limit, plot.get_ylim()[1], facecolor=colour("shade"), linewidth=0)
    plot.axhline(limit, color=colour("ink"), linewidth=1.2)
    plot.axhline(
        SHARE_OF_MARGIN * limit, color=colour("muted"), linewidth=0.9, linestyle=(0, (3, 3))
    )
    words = [(limit, "the limit"), (SHARE_OF_MARGIN * limit, "half of it")]
    upper, lower = (plot.transData.transform((left, height))[1] for height, _ in words)
    for height, word in words if upper - lower >= _LINE else words[:1]:
        plot.annotate(
            word,
            (left, height),
            xytext=(4, 3),
            textcoords="offset points",
            color=colour("muted"),
            fontsize=10,
        )


def _draw_frontier(plot: Axes, points: Sequence[Point], right: float) -> None:
    edge = frontier(points)
    plot.step(
        [*(point.p50_ms for point in edge), right],
        [*(point.upper for point in edge), edge[-1].upper],
        where="post",
        color=colour("muted"),
        linewidth=1,
        alpha=0.7,
    )


def _draw_point(plot: Axes, facts: ReleaseFacts, point: Point) -> None:
    role, marker = facts.series(point.id)
    ink = colour(role)
    plot.plot([point.p50_ms] * 2, [point.harm, point.upper], color=ink, linewidth=2, alpha=0.6)
    plot.plot(point.p50_ms, point.upper, "_", color=ink, markersize=8)
    plot.plot(point.p50_ms, point.harm, marker, color=ink, markersize=7)
    if point.chosen:
        plot.plot(
            point.p50_ms,
            point.harm,
            "o",
            markersize=15,
            markerfacecolor="none",
            markeredgecolor=colour("ink"),
        )


def _bars(points: Sequence[Point]) -> list[tuple[float, float, float]]:
    """The whiskers and the risers of the stepped line, which no label should cross."""
    risers = [(right.p50_ms, left.upper, right.upper) for left, right in pairwise(frontier(points))]
    return [*((point.p50_ms, point.harm, point.upper) for point in points), *risers]


def _labels(points: Sequence[Point]) -> list[Label]:
    return [
        Label(x=point.p50_ms, y=point.harm, text=clean(point.id, 24), bold=point.chosen)
        for point in points
    ]
