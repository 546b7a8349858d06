"""The training curves, and what calibration did to the probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgetl.extras import extra
from edgetl.report.blocks import Block, Cell, Grid, Plot, Plots, Section
from edgetl.report.documents import Table
from edgetl.report.facts import ReleaseFacts
from edgetl.report.numbers import clean, finite, number
from edgetl.report.theme import axes, canvas, colour, to_svg

with extra("report"):
    from markupsafe import Markup
    from matplotlib.axes import Axes


def section(facts: ReleaseFacts) -> Section | None:
    """Curves over the epochs and the temperatures; None without either."""
    blocks: list[Block] = []
    epochs, best, images = _epochs(facts)
    if epochs:
        scope = "; ".join(f"{clean(split)} split, n = {n:,}" for split, n in images.items())
        blocks.append(Plots(plots=_curves(epochs, best, scope)))
    temperatures = _temperatures(facts)
    if temperatures:
        blocks.append(temperatures)
    if not blocks:
        return None
    return Section(
        id="training",
        title="Training and temperature",
        read=(
            "The vertical line marks the epoch that was kept, the one with the lowest NLL on val; "
            "a temperature above 1 means that the network was surer than it should be."
        ),
        blocks=tuple(blocks),
    )


def _epochs(facts: ReleaseFacts) -> tuple[list[Table], int | None, Mapping[str, int]]:
    history = facts.data.history
    if history is None:
        return [], None, {}
    if isinstance(history, Mapping):
        return list(history.get("epochs", ())), history.get("best_epoch"), history.get("images", {})
    return list(history), None, {}


def _curves(epochs: Sequence[Table], best: int | None, scope: str) -> tuple[Plot, ...]:
    losses = _draw(
        "losses", epochs, best, (("loss", "train loss"), ("nll", "val NLL")), "nats", 1.0
    )
    accuracy = _draw("top1", epochs, best, (("top1", "val top-1"), ("ece", "val ECE")), "%", 100.0)
    ended = f"; epoch {best} was kept" if best is not None else ""
    caption = f"{len(epochs)} epochs{ended}. " + _phases(epochs)
    return (
        Plot(svg=losses, title="Loss", caption=caption, scope=scope),
        Plot(svg=accuracy, title="Top-1 and ECE", scope=scope),
    )


def _phases(epochs: Sequence[Table]) -> str:
    head = sum(epoch.get("phase") == "head" for epoch in epochs)
    return f"Shaded: the first {head}, where only the head is trained." if head else ""


def _draw(
    name: str,
    epochs: Sequence[Table],
    best: int | None,
    curves: Sequence[tuple[str, str]],
    unit: str,
    scale: float,
) -> Markup:
    with canvas(240) as figure:
        plot = axes(figure, left=42, right=82, top=10, bottom=40)
        at = [int(epoch.get("epoch", index)) for index, epoch in enumerate(epochs, 1)]
        head = sum(epoch.get("phase") == "head" for epoch in epochs)
        if head:
            plot.axvspan(at[0] - 0.5, at[0] + head - 0.5, facecolor=colour("shade"), linewidth=0)
        if best is not None:
            plot.axvline(best, color=colour("ink"), linewidth=1)
        ends = []
        for (key, word), (role, marker) in zip(
            curves, (("blue", "o"), ("orange", "s")), strict=True
        ):
            values = [finite(epoch.get(key)) for epoch in epochs]
            known = [(x, scale * y) for x, y in zip(at, values, strict=True) if y is not None]
            if known:
                xs, ys = zip(*known, strict=True)
                size = 4 if len(xs) <= 40 else 0
                plot.plot(xs, ys, color=colour(role), marker=marker, markersize=size, linewidth=1.6)
                ends.append((ys[-1], word, role))
        plot.set_xlim(at[0] - 0.5, at[-1] + 0.5)
        plot.set_ylim(bottom=min(0.0, plot.get_ylim()[0]))
        plot.grid(axis="y")
        plot.set_xlabel("epoch")
        plot.set_ylabel(unit)
        plot.locator_params(axis="x", integer=True, nbins=8)
        plot.locator_params(axis="y", nbins=5)
        _name_ends(plot, ends)
        described = "; ".join(f"{word} ends at {number(y, 3)}" for y, word, _ in ends)
        return to_svg(figure, name=f"training {name}", label=f"Over {len(at)} epochs: {described}.")


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


def _temperatures(facts: ReleaseFacts) -> Grid | None:
    """The reference's temperature and each variant's own correction of it."""
    rows = []
    calibration = facts.data.calibration
    if calibration and "temperature" in calibration:
        rows.append(_row("reference", calibration, "calib", "nll", "ece"))
    for name, found in (facts.data.refit or {}).items():
        if isinstance(found, Mapping) and "temperature" in found:
            rows.append(_row(str(name), found, "val", "val_nll", "val_ece"))
    if not rows:
        return None
    return Grid(
        head=(
            "side",
            "temperature",
            "fitted on",
            "seen on",
            "NLL before",
            "after",
            "ECE before",
            "after",
        ),
        rows=tuple(rows),
        numeric=frozenset({1, 4, 5, 6, 7}),
        title="Temperatures",
        caption="A variant's temperature multiplies the reference's.",
    )


def _row(name: str, found: Table, seen: str, nll: str, ece: str) -> tuple[Cell, ...]:
    pairs = [found.get(key) or {} for key in (nll, ece)]
    return (
        Cell(text=clean(name)),
        Cell(text=number(found["temperature"], 4)),
        Cell(text=f"calib, n = {found.get('n', '–')}"),
        Cell(text=seen),
        *(Cell(text=number(pair.get(when), 4)) for pair in pairs for when in ("before", "after")),
    )
