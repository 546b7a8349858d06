"""Small drawings inside a table's cell, as wide as the cell, in the page's own colours.

They are written by hand because their lengths are shares of a width that only the reader's page
knows, while markers and lines keep their size.
"""

from __future__ import annotations

from edgetl.extras import extra
from edgetl.report.blocks import Tone
from edgetl.report.numbers import significant

with extra("report"):
    from markupsafe import Markup, escape

LOW, HIGH = -0.6, 2.2
"""The part of the axis that is drawn: 0 is no harm, 1 the limit."""

_MARKS = {
    "PASS": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
    "FAIL": "M-5-3l3-3 3 3 3-3 3 3-3 3 3 3-3 3-3-3-3 3-3-3 3-3z",
    "INCONCLUSIVE": "M0-6.5L6 0 0 6.5-6 0z",
}
"""A shape for each outcome: none is told by its colour alone."""


def interval_gauge(
    low: float | None,
    middle: float,
    high: float | None,
    *,
    outcome: str,
    tone: Tone,
    label: str,
) -> Markup:
    """An interval in shares of its limit; an arrow where it leaves the drawing.

    Args:
        low, high: Its ends, None when nothing bounds it on that side.
        middle: The figure seen.
        outcome: Its shape is the mark.
        tone: Its colour is the bar's.
        label: What a reader who does not see it should hear.
    """
    left, right = _at(LOW if low is None else low), _at(HIGH if high is None else high)
    parts = [
        _line(0, "zero"),
        f'<rect class="over" x="{_at(1):.2f}%" y="0" width="{100 - _at(1):.2f}%" height="100%"/>',
        _line(1, "limit"),
        f'<rect class="span" x="{left:.2f}%" y="50%" height="8" '
        f'width="{right - left:.2f}%" rx="2" transform="translate(0 -4)"/>',
    ]
    if high is None or high > HIGH:
        parts.append(_mark(100, "M-11-5L-1 0-11 5z", "arrow"))
    if low is not None and low > HIGH:
        # No bar is left to see: how far away it is has to be said.
        words = f"{significant(low, 2)} × limit"
        parts.append(f'<text class="beyond" x="100%" dx="-16" y="50%" dy="4">{words}</text>')
    if low is None or low < LOW:
        parts.append(_mark(0, "M11-5L1 0 11 5z", "arrow"))
    if LOW <= middle <= HIGH:
        parts.append(_mark(_at(middle), _MARKS.get(outcome, _MARKS["PASS"]), "mark"))
    return _svg(f"gauge tone-{tone or 'quiet'}", "".join(parts), label)


def axis_gauge() -> Markup:
    """The words over the lines that `interval_gauge` draws."""
    words = "".join(
        f'<text x="{_at(value):.2f}%" y="16" text-anchor="middle">{word}</text>'
        for value, word in ((0, "0"), (1, "limit"), (2, "2 × limit"))
    )
    # The caption says what the lines are: nothing is lost to who does not see these words.
    return Markup(f'<svg class="gauge axis" aria-hidden="true">{words}</svg>')


def share_gauge(
    low: float, share: float, high: float, *, most: float, negative: float, label: str
) -> Markup:
    """A bar for a share from 0 to `most`, with its interval as a whisker.

    Args:
        low, share, high: The share with its interval, 0..1.
        most: What the whole width stands for.
        negative: The part of the share that is drawn solid, the rest being pale.
        label: What a reader who does not see it should hear.
    """
    at = [100 * min(value / most, 1.0) for value in (low, share, high, negative)]
    parts = (
        f'<rect class="pale" x="0" y="25%" height="50%" width="{at[1]:.2f}%"/>'
        f'<rect class="full" x="0" y="25%" height="50%" width="{at[3]:.2f}%"/>'
        f'<line class="whisker" x1="{at[0]:.2f}%" x2="{at[2]:.2f}%" y1="50%" y2="50%"/>'
    )
    return _svg("gauge", parts, label)


def _at(value: float) -> float:
    """The place of a share of the limit, in percent of the width."""
    return 100 * (min(max(value, LOW), HIGH) - LOW) / (HIGH - LOW)


def _line(value: float, kind: str) -> str:
    at = _at(value)
    return f'<line class="{kind}" x1="{at:.2f}%" x2="{at:.2f}%" y1="0" y2="100%"/>'


def _mark(at: float, path: str, kind: str) -> str:
    return f'<svg x="{at:.2f}%" y="50%" overflow="visible"><path class="{kind}" d="{path}"/></svg>'


def _svg(kind: str, parts: str, label: str) -> Markup:
    return Markup(f'<svg class="{kind}" role="img" aria-label="{escape(label)}">{parts}</svg>')
