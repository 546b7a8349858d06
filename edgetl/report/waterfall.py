"""The loss waterfall: at which step from the reference to a variant the answers change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgetl.extras import extra
from edgetl.report.blocks import Block, Cell, Fold, Grid, Note, Plot, Plots, Section
from edgetl.report.facts import ReleaseFacts
from edgetl.report.loss import Loss, Step, loss_of
from edgetl.report.numbers import DASH, clean, count, number, percent, significant
from edgetl.report.theme import axes, canvas, colour, to_svg

with extra("report"):
    from markupsafe import Markup
    from matplotlib.axes import Axes

_ROW = 38.0
_WHOLE = "the whole way"


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """The ends of the axes, which all variants share."""

    flips: int
    kl: float


def section(facts: ReleaseFacts) -> Section | None:
    """The steps as pictures and as a table, and the weakest layers; None when not measured."""
    if not facts.data.waterfalls:
        return None
    losses = [loss_of(document) for document in facts.data.waterfalls]
    everywhere = [step for loss in losses for step in (*loss.steps, loss.total)]
    scale = _Scale(
        flips=max(1, *(sum(step.flips or 0 for step in loss.steps) for loss in losses)),
        kl=max(1e-9, *(step.mean_kl or 0.0 for step in everywhere)),
    )
    blocks = [block for loss in losses for block in _blocks(loss, scale)]
    return Section(
        id="waterfall",
        title="Where the difference arises",
        read=(
            "The same images are answered along the way from the reference to the device, and "
            "each step changes one thing only."
        ),
        blocks=tuple(blocks),
    )


def _blocks(loss: Loss, scale: _Scale) -> list[Block]:
    scope = f"{clean(loss.split)} split, n = {loss.n:,}"
    grids = (_steps(loss, scope), *((_layers(loss, scope),) if loss.layers else ()))
    return [
        Note(text=message(loss)),
        Plots(plots=(_flips_plot(loss, scope, scale), _kl_plot(loss, scope, scale))),
        Fold(title=f"{clean(loss.variant)}: the steps in figures", grids=grids),
    ]


def message(loss: Loss) -> str:
    """What the waterfall says, in a sentence."""
    images = f"Of {count(loss.n, 'image')}, {clean(loss.variant)} answers"
    if not loss.total.flips:
        return f"{images} none differently from the reference."
    measured = [step for step in loss.steps if step.flips]
    whole = f"{images} {loss.total.flips:,} differently from the reference"
    if not measured:
        return f"{whole}, at no single step."
    worst = max(measured, key=lambda step: step.flips or 0)
    return f"{whole}; the step that changes the most is {clean(worst.name)} ({worst.flips:,})."


def _measured(loss: Loss) -> list[Step]:
    return [step for step in loss.steps if step.flips is not None]


def _skipped(loss: Loss) -> str:
    names = [clean(step.name) for step in loss.steps if step.flips is None]
    return f" Not measured: {', '.join(names)}." if names else ""


def _flips_plot(loss: Loss, scope: str, scale: _Scale) -> Plot:
    ends, so_far = [], 0
    for step in _measured(loss):
        ends.append((so_far, so_far + (step.flips or 0)))
        so_far = ends[-1][1]
    svg = _draw(
        loss,
        [*ends, (0, loss.total.flips or 0)],
        most=scale.flips,
        axis="answers changed",
        words=lambda step: DASH if step.flips is None else f"{step.flips:,}",
        label=message(loss),
        name=f"waterfall flips {loss.variant}",
    )
    return Plot(
        svg=svg,
        title=f"{clean(loss.variant)}: answers changed, step by step",
        caption="Each bar begins where the last one ended. A later step may change an answer "
        f"back, so the whole way may be shorter than the steps together.{_skipped(loss)}",
        scope=scope,
    )


def _kl_plot(loss: Loss, scope: str, scale: _Scale) -> Plot:
    found = [(0.0, step.mean_kl or 0.0) for step in (*_measured(loss), loss.total)]
    svg = _draw(
        loss,
        found,
        most=scale.kl,
        axis="mean KL, nats",
        words=lambda step: DASH if step.mean_kl is None else significant(step.mean_kl, 2),
        label=f"Mean KL of each step to {clean(loss.variant)}",
        name=f"waterfall kl {loss.variant}",
    )
    return Plot(
        svg=svg,
        title=f"{clean(loss.variant)}: how far the probabilities move",
        caption="Mean Kullback–Leibler divergence of each step's two sides; it does not add up.",
        scope=scope,
    )


def _draw(
    loss: Loss,
    bars: Sequence[tuple[float, float]],
    *,
    most: float,
    axis: str,
    words: Callable[[Step], str],
    label: str,
    name: str,
) -> Markup:
    steps = (*_measured(loss), loss.total)
    with canvas(42 + _ROW * len(steps)) as figure:
        plot = axes(figure, left=12, right=12, top=0, bottom=40)
        plot.set_xlim(0, 1.02 * most)
        plot.set_ylim(len(steps), 0)
        plot.set_yticks([])
        plot.spines["left"].set_visible(False)
        plot.locator_params(axis="x", nbins=4, integer=isinstance(most, int))
        plot.xaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "−"))
        plot.set_xlabel(axis)
        for row, (step, (low, high)) in enumerate(zip(steps, bars, strict=True)):
            _draw_step(plot, row, low, high, whole=step is loss.total)
            _write(plot, row, _title(step, whole=step is loss.total), words(step))
        heard = "; ".join(
            f"{_title(step, whole=step is loss.total)}: {words(step)}" for step in steps
        )
        return to_svg(figure, name=name, label=f"{label} By step: {heard}.")


def _draw_step(plot: Axes, row: int, low: float, high: float, *, whole: bool) -> None:
    y = row + 0.74
    plot.barh(
        y, high - low, left=low, height=0.34, color=colour("ink" if whole else "blue"), alpha=0.75
    )
    plot.plot([low, low], [row + 0.5, row + 0.98], color=colour("muted"), linewidth=0.8)


def _write(plot: Axes, row: int, left: str, right: str) -> None:
    across = plot.get_yaxis_transform()
    for x, text, side, role in ((0, left, "left", "ink"), (1, right, "right", "muted")):
        plot.text(x, row + 0.3, text, transform=across, ha=side, va="center", color=colour(role))


def _title(step: Step, *, whole: bool) -> str:
    if whole:
        return _WHOLE
    skipped = ", not measured" if step.flips is None else ""
    return clean(step.name, 24) + skipped


def _steps(loss: Loss, scope: str) -> Grid:
    return Grid(
        head=(
            "step",
            "from",
            "to",
            "answers changed",
            "share",
            "mean KL, nats",
            "largest difference",
            "note",
        ),
        rows=tuple(_cells(step, whole=step is loss.total) for step in (*loss.steps, loss.total)),
        numeric=frozenset({3, 4, 5, 6}),
        scope=scope,
    )


def _cells(step: Step, *, whole: bool) -> tuple[Cell, ...]:
    return (
        Cell(text=_title(step, whole=whole)),
        Cell(text=clean(step.source)),
        Cell(text=clean(step.target)),
        Cell(text=DASH if step.flips is None else f"{step.flips:,}"),
        Cell(text=percent(step.flip_rate)),
        Cell(text=significant(step.mean_kl, 2)),
        Cell(text=significant(step.max_difference, 2)),
        Cell(text=clean(step.note, 200) or DASH),
    )


def _layers(loss: Loss, scope: str) -> Grid:
    return Grid(
        head=("layer", "operator", "SQNR, dB", "with all before it, dB"),
        rows=tuple(
            (
                Cell(text=clean(layer.name)),
                Cell(text=clean(layer.operator)),
                Cell(text=number(layer.sqnr_db, 1)),
                Cell(text=number(layer.accumulated_db, 1)),
            )
            for layer in loss.layers
        ),
        numeric=frozenset({2, 3}),
        title="The layers that precision costs most",
        caption="Signal to quantization noise of each layer's output; 10 dB less is ten times the "
        "noise power.",
        scope=scope,
    )
