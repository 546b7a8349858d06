"""Labels beside points, put where they cover neither a point nor one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgetl.extras import extra
from edgetl.report.theme import colour

with extra("report"):
    from matplotlib.axes import Axes

_SIZE = 10.0
_ADVANCE = 0.58  # of the font size, a wide guess of a letter's width: the reader's font is unknown
_SPOTS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 2), (0, -2))

_Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Label:
    """A text for the point (x, y), in data coordinates."""

    x: float
    y: float
    text: str
    bold: bool = False


def place(
    axes: Axes, labels: Sequence[Label], *, bars: Sequence[tuple[float, float, float]] = ()
) -> None:
    """Draw each label at the spot beside its point that covers the least, in the order given.

    Args:
        axes: With its limits set.
        labels: The texts with their points.
        bars: Vertical lines (x, y, y) in data coordinates that no label should cross.
    """
    frame = axes.get_window_extent()
    inside = (frame.x0, frame.y0, frame.x1, frame.y1)
    points = [tuple(axes.transData.transform((label.x, label.y))) for label in labels]
    taken: list[_Box] = [(x - 8, y - 8, x + 8, y + 8) for x, y in points]
    for x, *ends in bars:
        (at, low), (_, high) = (axes.transData.transform((x, end)) for end in sorted(ends))
        taken.append((at - 4, low - 2, at + 4, high + 2))
    for index, (label, (x, y)) in enumerate(zip(labels, points, strict=True)):
        others = taken[:index] + taken[index + 1 :]
        width = _ADVANCE * _SIZE * len(label.text)
        boxes = [_box(x, y, spot, width) for spot in _SPOTS]
        costs = [
            sum(_overlap(box, other) for other in others)
            + 3 * ((box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, inside))
            for box in boxes
        ]
        best = boxes[costs.index(min(costs))]
        taken.append(best)
        axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=((best[0] + best[2]) / 2 - x, (best[1] + best[3]) / 2 - y),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=_SIZE,
            fontweight="bold" if label.bold else "normal",
            color=colour("ink"),
        )


def _box(x: float, y: float, spot: tuple[int, int], width: float) -> _Box:
    middle_x = x + spot[0] * (width / 2 + (11 if spot[1] == 0 else 5))
    middle_y = y + spot[1] * 16
    return middle_x - width / 2, middle_y - 6, middle_x + width / 2, middle_y + 6


def _overlap(one: _Box, other: _Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)
