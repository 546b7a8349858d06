"""What a section of the page is made of; the template knows how each is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edgetl.extras import extra

with extra("report"):
    from markupsafe import Markup

Tone = Literal["", "pass", "fail", "unsure", "quiet"]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure with its caption. `scope` says the split and n that it is drawn from."""

    svg: Markup
    title: str
    caption: str = ""
    scope: str = ""


@dataclass(frozen=True, kw_only=True)
class Plots:
    """Figures side by side where the page is wide enough."""

    plots: tuple[Plot, ...]
    kind: Literal["plots"] = "plots"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: a text, what tone it has, and how strongly it is tinted (0..100, None for not).

    `gauge` is drawn under the text; `mark` is a word set beside it, such as "ships".
    """

    text: str
    tone: Tone = ""
    tint: int | None = None
    hue: Literal["", "good", "bad"] = ""
    title: str = ""
    gauge: Markup | None = None
    mark: str = ""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table in a box that scrolls by itself.

    Attributes:
        numeric: Which columns hold numbers, and so stand at the right.
        style: ``rows`` for a list, ``heat`` for a square of counts, ``bars`` for drawn cells,
            ``stacked`` for a list of sentences whose cells stand below each other on a phone.
        marked: Rows to set off, such as what ships.
        turned: The heads stand upright, for names wider than their columns.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    title: str = ""
    caption: str = ""
    scope: str = ""
    style: Literal["rows", "heat", "bars", "stacked"] = "rows"
    marked: frozenset[int] = frozenset()
    turned: bool = False
    kind: Literal["grid"] = "grid"


@dataclass(frozen=True, kw_only=True)
class Grids:
    """Tables side by side where the page is wide enough, and `wide` ones below each other."""

    grids: tuple[Grid, ...]
    wide: bool = False
    kind: Literal["grids"] = "grids"


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """One gate: what it bounds, the judged figure and its limit in words, the drawn interval."""

    name: str
    detail: str
    figure: str
    seen: str
    limit: str
    gauge: Markup
    outcome: str
    sign: str
    tone: Tone


@dataclass(frozen=True, kw_only=True)
class ForestGroup:
    """The gates of one variant; `rest` says which rows are not drawn."""

    name: str
    outcome: str
    sign: str
    tone: Tone
    scope: str
    rows: tuple[ForestRow, ...]
    rest: str = ""


@dataclass(frozen=True, kw_only=True)
class Forest:
    """Intervals against their limits on one axis, as a table whose column is a picture."""

    groups: tuple[ForestGroup, ...]
    title: str
    axis: Markup
    caption: str = ""
    kind: Literal["forest"] = "forest"


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Tables that open on demand."""

    title: str
    grids: tuple[Grid, ...]
    kind: Literal["fold"] = "fold"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Terms with what they are."""

    pairs: tuple[tuple[str, str], ...]
    title: str = ""
    kind: Literal["facts"] = "facts"


@dataclass(frozen=True, kw_only=True)
class Note:
    """A sentence; in the tone ``unsure`` a warning."""

    text: str
    tone: Tone = ""
    kind: Literal["note"] = "note"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Preformatted text that opens on demand."""

    title: str
    text: str
    kind: Literal["source"] = "source"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture as a data URI; `coarse` ones are enlarged without smoothing."""

    uri: str
    label: str
    alt: str
    coarse: bool = False


@dataclass(frozen=True, kw_only=True)
class FlipCard:
    """One input that was answered differently."""

    title: str
    tone: Tone
    word: str
    pictures: tuple[Picture, ...]
    answers: tuple[tuple[str, str, int, bool], ...]
    """Who, class, probability in percent, right or not."""
    foot: str


@dataclass(frozen=True, kw_only=True)
class FlipCards:
    """Cards of flips; `ramp` says whether maps are among the pictures."""

    cards: tuple[FlipCard, ...]
    ramp: bool
    kind: Literal["flips"] = "flips"


Block = Plots | Grid | Grids | Forest | Fold | Facts | Note | Source | FlipCards


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section: its anchor, its title, one sentence on how to read it, and its blocks."""

    id: str
    title: str
    read: str
    blocks: tuple[Block, ...]
    scope: str = ""


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """A variant that ships, with the figures that matter."""

    id: str
    backend: str
    figures: tuple[tuple[str, str, str], ...]
    """Value, what it is, its interval or what it is compared with."""


@dataclass(frozen=True, kw_only=True)
class Hero:
    """The head of the page: the verdict."""

    outcome: str
    tone: Tone
    sign: str
    sentence: str
    remarks: tuple[str, ...]
    shipped: tuple[Shipped, ...]
    limits: tuple[tuple[str, str], ...]
    scope: str
    judged: bool
    """A variant was judged, so that there are intervals to speak of."""
    released: bool
    policy: str = ""
    notes: tuple[str, ...] = field(default=())
