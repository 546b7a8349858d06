"""The page: every section rendered into one self-contained HTML document."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path

from edgetl.extras import extra
from edgetl.files import write_atomic
from edgetl.report import (
    confusion,
    environment,
    flips,
    latency,
    margins,
    reliability,
    tradeoff,
    training,
    variants,
)
from edgetl.report.blocks import Section
from edgetl.report.content import ReportData
from edgetl.report.facts import ReleaseFacts, facts_of
from edgetl.report.numbers import clean
from edgetl.report.verdict import hero
from edgetl.version import __version__

with extra("report"):
    from jinja2 import Environment, StrictUndefined, Template
    from markupsafe import Markup

# In the order of the page, each with what it needs, said when it is not there.
_SECTIONS: tuple[tuple[Callable[[ReleaseFacts], Section | None], str], ...] = (
    (variants.section, "The variants: the verdict holds no metrics."),
    (margins.section, "Intervals against the margins: no variant was judged."),
    (tradeoff.section, "Latency and harm: there was no choice among candidates."),
    (reliability.section, "Calibration of the probabilities: no labelled predictions."),
    (latency.section, "Latency: no measurements."),
    (confusion.section, "Which classes are confused: no labelled predictions of two sides."),
    (flips.section, "The answers that changed: no predictions of two sides."),
    (training.section, "Training and temperature: edgetl did not train or calibrate here."),
    (environment.section, "Where and how it ran: nothing was recorded."),
)


def render_report(data: ReportData) -> str:
    """The report as one HTML document: equal data and packages give equal text.

    It holds no script and loads nothing: styles, figures and pictures are inside, and a content
    security policy forbids all else, so that no class name can bring the page to run something.

    Args:
        data: What to show; foreign text in it is escaped.

    Raises:
        GateError: When latency samples do not fit together.
        MissingExtraError: Without the extra ``report``.

    Example:
        >>> page = render_report(ReportData(verdict={
        ...     "verdict": "FAIL", "policy": {}, "variants": [],
        ...     "data": {"name": "<script>", "split": "test", "n": 5, "hash": ""},
        ... }))
        >>> "<script>" in page, "&lt;script&gt;" in page
        (False, True)
    """
    facts = facts_of(data)
    found = [(make(facts), absent) for make, absent in _SECTIONS]
    name = clean(data.name or data.verdict["data"].get("name", "") or "classifier")
    return _template().render(
        name=name,
        version=clean(data.version),
        hero=hero(facts),
        sections=[section for section, _ in found if section is not None],
        absent=[absent for section, absent in found if section is None],
        style=Markup(_text("page.css")),
        edgetl=__version__,
    )


def write_report(path: Path, data: ReportData) -> None:
    """Write `render_report` to a file, whole or not at all; errors are its errors."""
    write_atomic(path, render_report(data).encode())


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_text("page.html.j2"))


def _text(name: str) -> str:
    return resources.files("edgetl.report").joinpath(name).read_text(encoding="utf-8")
