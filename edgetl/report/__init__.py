"""The HTML report of a release and its plots.

    from edgetl.report import ReportData, write_report
    write_report(Path("report.html"), ReportData(verdict=verdict, predictions=predictions))

Importing this room loads neither matplotlib nor jinja2 (the extra ``report``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgetl.report.content import Flip, ReportData, report_from_predictions
    from edgetl.report.occlusion import occlusion_map
    from edgetl.report.page import render_report, write_report

_HOME = {
    "Flip": "content",
    "ReportData": "content",
    "occlusion_map": "occlusion",
    "render_report": "page",
    "report_from_predictions": "content",
    "write_report": "page",
}

__all__ = [
    "Flip",
    "ReportData",
    "occlusion_map",
    "render_report",
    "report_from_predictions",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"edgetl.report.{_HOME[name]}"), name)
    raise AttributeError(f"module 'edgetl.report' has no attribute {name!r}")
