"""The curves of a training run: losses, accuracy, learning rate, and each term of the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgetl.extras import extra
from edgetl.report.blocks import Plot
from edgetl.report.documents import Table
from edgetl.report.numbers import clean, finite, number, significant
from edgetl.report.theme import SERIES, axes, canvas, colour, to_svg

with extra("report"):
    from markupsafe import Markup
    from matplotlib.axes import Axes

MAX_TERMS = len(SERIES)
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """A line over the epochs, and what its end is called."""

    name: str
    values: tuple[float | None, ...]


def curves_of(epochs: Sequence[Table], best: int | None, scope: str) -> tuple[Plot, ...]:
    """The figures of a run's history.

    Args:
        epochs: Of ``history.json``: `loss`, `nll` in nats, `top1`, `ece` in 0..1,
            `learning_rate`, `terms` (name -> weighted mean); what is missing is not drawn.
        best: The epoch that was kept.
        scope: The splits and their sizes, in words.

    Returns:
        Loss, then top-1 and ECE, then the learning rate and the terms when they were recorded.
    """
    ended = f"; epoch {best} was kept" if best is not None else ""
    plots = [
        _plot(
            "Loss",
            (_key(epochs, "loss", "train loss"), _key(epochs, "nll", "val NLL")),
            epochs,
            best,
            "nats",
            scope,
            f"{len(epochs)} epochs{ended}. " + _phases(epochs),
        ),
        _plot(
            "Top-1 and ECE",
            (_key(epochs, "top1", "val top-1", 100.0), _key(epochs, "ece", "val ECE", 100.0)),
            epochs,
            best,
            "%",
            scope,
        ),
    ]
    return (*plots, *_rates(epochs, best), *_terms(epochs, best, scope))


def _key(epochs: Sequence[Table], key: str, name: str, scale: float = 1.0) -> _Curve:
    found = [finite(epoch.get(key)) for epoch in epochs]
    return _Curve(name=name, values=tuple(None if y is None else scale * y for y in found))


def _rates(epochs: Sequence[Table], best: int | None) -> tuple[Plot, ...]:
    """The learning rate in a power of ten that leaves short numbers."""
    rates = [rate for epoch in epochs if (rate := finite(epoch.get("learning_rate"))) is not None]
    if not rates or max(rates) <= 0:
        return ()
    power = math.floor(math.log10(max(rates)))
    curve = _key(epochs, "learning_rate", "rate", 10.0**-power)
    return (
        _plot(
            "Learning rate",
            (curve,),
            epochs,
            best,
            f"× 10{str(power).translate(_RAISED)}",
            "",
            f"Of each epoch's last step; the highest is {significant(max(rates))}.",
        ),
    )


def _terms(epochs: Sequence[Table], best: int | None, scope: str) -> tuple[Plot, ...]:
    recorded = [epoch["terms"] for epoch in epochs if isinstance(epoch.get("terms"), Mapping)]
    names = list(dict.fromkeys(str(name) for terms in recorded for name in terms))
    if not names:
        return ()
    drawn = names[:MAX_TERMS]
    curves = tuple(
        _Curve(name=clean(name, 14), values=tuple(_term(epoch, name) for epoch in epochs))
        for name in drawn
    )
    left_out = f" {len(names) - len(drawn)} more are not drawn." if len(names) > len(drawn) else ""
    caption = "Each term with its weight, the epoch's mean: what it adds to the loss." + left_out
    return (_plot("Terms of the loss", curves, epochs, best, "weighted", scope, caption),)


def _term(epoch: Table, name: str) -> float | None:
    terms = epoch.get("terms")
    return finite(terms.get(name)) if isinstance(terms, Mapping) else None


def _phases(epochs: Sequence[Table]) -> str:
    head = _head_epochs(epochs)
    return f"Shaded: the first {head}, where only the head is trained." if head else ""


def _head_epochs(epochs: Sequence[Table]) -> int:
    return sum(epoch.get("phase") == "head" for epoch in epochs)


def _plot(
    title: str,
    curves: Sequence[_Curve],
    epochs: Sequence[Table],
    best: int | None,
    unit: str,
    scope: str,
    caption: str = "",
) -> Plot:
    svg = _draw(f"training {title}", curves, epochs, best, unit)
    return Plot(svg=svg, title=title, caption=caption, scope=scope)


def _draw(
    name: str, curves: Sequence[_Curve], epochs: Sequence[Table], best: int | None, unit: str
) -> Markup:
    with canvas(240) as figure:
        plot = axes(figure, left=42, right=82, top=10, bottom=40)
        at = [int(epoch.get("epoch", index)) for index, epoch in enumerate(epochs, 1)]
        head = _head_epochs(epochs)
        if head:
            plot.axvspan(at[0] - 0.5, at[0] + head - 0.5, facecolor=colour("shade"), linewidth=0)
        if best is not None:
            plot.axvline(best, color=colour("ink"), linewidth=1)
        ends = []
        for curve, (role, marker) in zip(curves, SERIES, strict=False):
            known = [(x, y) for x, y in zip(at, curve.values, strict=True) if y is not None]
            if known:
                xs, ys = zip(*known, strict=True)
                size = 4 if len(xs) <= 40 else 0
                plot.plot(xs, ys, color=colour(role), marker=marker, markersize=size, linewidth=1.6)
                ends.append((ys[-1], curve.name, role))
        plot.set_xlim(at[0] - 0.5, at[-1] + 0.5)
        plot.set_ylim(bottom=min(0.0, plot.get_ylim()[0]))
        plot.grid(axis="y")
        plot.set_xlabel("epoch")
        plot.set_ylabel(unit)
        plot.locator_params(axis="x", integer=True, nbins=8)
        plot.locator_params(axis="y", nbins=5)
        _name_ends(plot, ends)
        described = "; ".join(f"{word} ends at {number(y, 3)}" for y, word, _ in ends)
        return to_svg(figure, name=name, label=f"{name} over {len(at)} epochs: {described}.")


def _name_ends(plot: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Each curve's name at its end, moved apart where they would meet."""
    low, high = plot.get_ylim()
    gap = 0.085 * (high - low)
    height = low - gap
    for y, word, role in sorted(ends):
        height = max(y, height + gap)
        plot.text(
            1.02,
            (height - low) / (high - low),
            word,
            transform=plot.transAxes,
            va="center",
            color=colour(role),
            fontweight="bold",
        )
