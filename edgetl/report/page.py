"""The page: every section rendered into one self-contained HTML document."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path

from edgetl.extras import extra
from edgetl.files import write_atomic
from edgetl.report import (
    changes,
    confusion,
    coverage,
    environment,
    flips,
    latency,
    margins,
    reliability,
    thresholds,
    tradeoff,
    training,
    training_classes,
    training_labels,
    training_transfer,
    undecided,
    variants,
    waterfall,
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

_SECTIONS: tuple[tuple[Callable[[ReleaseFacts], Section | None], str], ...] = (
    (margins.section, "Intervals against the limits: no variant was judged."),
    (undecided.section, ""),
    (variants.section, "The variants: the verdict holds no metrics."),
    (waterfall.section, "Where the difference arises: no loss waterfall was measured."),
    (changes.section, "Where answers changed: no predictions of two sides."),
    (reliability.section, "Calibration of the probabilities: no labelled predictions."),
    (thresholds.section, "Thresholds that move: none were transferred."),
    (coverage.section, "Sets that hold the true label: none were fitted."),
    (flips.section, "The answers that changed: no predictions of two sides."),
    (tradeoff.section, "Latency and harm: there was no choice among candidates."),
    (latency.section, "Latency: no measurements."),
    (confusion.section, "Which classes are confused: no labelled predictions of two sides."),
    (training_classes.section, "Each class: no labelled predictions of a reference."),
    (training.section, "Training and temperature: edgetl did not train or calibrate here."),
    (training_transfer.section, ""),
    (training_labels.section, ""),
    (environment.section, "Where and how it ran: nothing was recorded."),
)
"""In the order of the page, each with what it needs, said when it is not there; without such
words, that there is nothing to show is no lack."""


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
        absent=[absent for section, absent in found if section is None and absent],
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
