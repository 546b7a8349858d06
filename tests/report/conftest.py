from __future__ import annotations

import pytest

from edgetl.report import ReportData, render_report
from tests.report.helpers.made import report


@pytest.fixture(scope="session")
def whole() -> ReportData:
    """A release with everything in it."""
    return report()


@pytest.fixture(scope="session")
def page(whole: ReportData) -> str:
    return render_report(whole)
