"""The trials of a search as a picture: an SVG file that stands alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from edgetl.extras import extra
from edgetl.files import write_atomic
from edgetl.pipeline.tune_result import SearchResult, SearchTrial

_INCHES = (6.4, 3.2)


def draw_trials(path: Path, result: SearchResult) -> None:
    """Draw the trials' NLL on val in their order, and the best so far.

    Args:
        path: The SVG file.
        result: With a complete trial.

    Raises:
        MissingExtraError: Without matplotlib.
    """
    with extra("report"):
        import matplotlib
        from matplotlib.figure import Figure
    complete = [one for one in result.trials if one.state == "complete"]
    stopped = [one for one in result.trials if one.state == "pruned" and one.nll is not None]
    drawn = io.BytesIO()
    # Whatever the user's matplotlibrc says, and the same bytes for the same trials.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.hashsalt"] = "edgetl search"
        figure = Figure(figsize=_INCHES, layout="constrained")
        plot = figure.add_subplot()
        plot.plot(*_points(complete), "o", color="C0", label="complete")
        if stopped:
            plot.plot(*_points(stopped), "x", color="0.5", label="stopped early, last epoch")
        numbers, values = _points(complete)
        plot.step(numbers, _lowest(values), where="post", color="C1", label="best so far")
        plot.set(xlabel="trial", ylabel="NLL on val, nats")
        plot.set_title(f"{result.study}: {len(result.trials)} trials", loc="left")
        plot.locator_params(axis="x", integer=True, nbins=8)
        plot.grid(axis="y", alpha=0.4)
        plot.legend(frameon=False)
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    write_atomic(path, drawn.getvalue())


def _points(trials: Sequence[SearchTrial]) -> tuple[list[int], list[float]]:
    known = [(one.number, one.nll) for one in trials if one.nll is not None]
    return [number for number, _ in known], [nll for _, nll in known]


def _lowest(values: Sequence[float]) -> list[float]:
    """The lowest up to each position.

    Example:
        >>> _lowest([3.0, 1.0, 2.0])
        [3.0, 1.0, 1.0]
    """
    return [min(values[: at + 1]) for at in range(len(values))]
