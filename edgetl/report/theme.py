"""Matplotlib figures as inline SVG that takes its colours and its font from the page.

Each role of colour is drawn in a sentinel that no real colour uses, and the sentinel is replaced
by a CSS variable afterwards: one SVG serves the light page and the dark one. Text stays text.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from edgetl.errors import EdgetlError
from edgetl.extras import extra

with extra("report"):
    import matplotlib
    from markupsafe import Markup, escape
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 340
"""Most figures are so many units wide: legible on a phone, two beside each other on a desk."""

_ROLES = ("ink", "muted", "line", "surface", "blue", "orange", "green", "purple", "rose", "olive")
_STATES = ("pass", "fail", "unsure", "shade")
_SENTINELS = {role: f"#0102{index:02x}" for index, role in enumerate((*_ROLES, *_STATES), 0x10)}
_VARIABLES = {sentinel: f"var(--{role})" for role, sentinel in _SENTINELS.items()}

SERIES = (
    ("blue", "o"),
    ("orange", "s"),
    ("green", "D"),
    ("purple", "^"),
    ("rose", "v"),
    ("olive", "P"),
)
"""Colour and marker of the variants, in turn: neither is the only one that tells them apart."""

OUTCOMES = MappingProxyType(
    {"PASS": ("pass", "o"), "FAIL": ("fail", "X"), "INCONCLUSIVE": ("unsure", "D")}
)


def colour(role: str) -> str:
    """The sentinel that becomes ``var(--role)``."""
    return _SENTINELS[role]


_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a class called "$x$" is that, and "$\frac{" would raise
    "font.size": 10.5,
    "text.color": colour("ink"),
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": colour("line"),
    "axes.labelcolor": colour("muted"),
    "axes.labelsize": 10.5,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": colour("line"),
    "grid.linewidth": 0.7,
    "xtick.color": colour("line"),
    "ytick.color": colour("line"),
    "xtick.labelcolor": colour("muted"),
    "ytick.labelcolor": colour("muted"),
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "lines.solid_capstyle": "round",
    "path.simplify": False,
}


@contextmanager
def canvas(height: float, *, width: float = WIDTH) -> Iterator[Figure]:
    """A figure of `width` × `height` units, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield Figure(figsize=(width / 72, height / 72), dpi=72)


def axes(
    figure: Figure, *, left: float, right: float, top: float, bottom: float, **shared: Axes
) -> Axes:
    """Axes whose four margins are given in units from the figure's edges."""
    width, height = 72 * figure.get_size_inches()
    return figure.add_axes(
        (
            left / width,
            bottom / height,
            (width - left - right) / width,
            (height - top - bottom) / height,
        ),
        sharex=shared.get("sharex"),
    )


def to_svg(figure: Figure, *, name: str, label: str) -> Markup:
    """The figure as an ``<svg>`` element: equal figures give equal bytes.

    Args:
        figure: Drawn inside `canvas`.
        name: Unique on the page: it keeps the ids of two figures apart.
        label: What a reader who does not see the figure should hear.
    """
    stream = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": f"edgetl {name}"}), warnings.catch_warnings():
        # The reader's browser brings the font; that ours lacks a glyph is of no matter.
        warnings.filterwarnings("ignore", message="Glyph ")
        figure.savefig(stream, format="svg", metadata=nothing)
    return Markup(_inline(stream.getvalue(), label))


def _inline(svg: str, label: str) -> str:
    # Text content is escaped, so "<" begins a tag and nothing else: only tags are rewritten.
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", body, flags=re.S)
    body = re.sub(r"<defs>\s*</defs>", "", body)
    used = set(re.findall(r'(?:href="|url\()#([\w.-]+)', body))
    body = re.sub(r"<[^>]+>", lambda tag: _tag(tag.group(), used), body)
    height = re.search(r'viewBox="([^"]+)"', body)
    if height is None:
        raise EdgetlError(
            "figure", got="an SVG without viewBox", expected="matplotlib's", fix="report this"
        )
    head = f'<svg class="plot" viewBox="{height.group(1)}" role="img" aria-label="{escape(label)}">'
    text = head + body[body.index(">") + 1 :]
    return re.sub(r">\s*\n\s*<", ">\n<", text).strip()


def _tag(tag: str, used: set[str]) -> str:
    """A tag in the page's colours and font, without the ids that nothing refers to."""
    tag = re.sub(r"#[0-9a-f]{6}\b", lambda found: _VARIABLES.get(found[0], found[0]), tag)
    tag = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", tag)
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    tag = re.sub(r"(\.\d\d)\d+", r"\1", tag)
    return re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", tag)
