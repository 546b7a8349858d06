from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from edgetl.report.gauge import HIGH, LOW, axis_gauge, interval_gauge, share_gauge


def drawn(low, middle, high, outcome: str = "PASS") -> str:
    return str(
        interval_gauge(low, middle, high, outcome=outcome, tone="pass", label='a "label" <b>')
    )


@pytest.mark.parametrize(
    "interval", [(0.1, 0.2, 0.3), (-9.0, 0.0, 9.0), (None, 0.5, None), (7.0, 8.0, 9.0)]
)
def test_everything_is_inside_the_picture(interval) -> None:
    root = ElementTree.fromstring(drawn(*interval))
    assert root.attrib["aria-label"] == 'a "label" <b>' and root.attrib["role"] == "img"
    for one in root.iter():
        for name in ("x", "x1", "x2"):
            value = one.attrib.get(name, "0")
            assert 0 <= float(value.removesuffix("%")) <= 100


def test_the_scale_is_linear_in_shares_of_the_limit() -> None:
    found = re.search(r'class="span" x="([\d.]+)%".*?width="([\d.]+)%"', drawn(0.0, 0.5, 1.0))
    assert found is not None
    assert float(found[1]) == pytest.approx(100 * -LOW / (HIGH - LOW), abs=0.01)
    assert float(found[2]) == pytest.approx(100 / (HIGH - LOW), abs=0.01)


def test_an_interval_beyond_the_picture_is_said_in_words() -> None:
    assert "4.0 × limit</text>" in drawn(4.0, 5.0, 6.0, "FAIL")
    assert "<text" not in drawn(1.5, 5.0, 6.0, "FAIL")


def test_a_share_is_as_long_as_its_part_of_the_whole_width() -> None:
    svg = str(share_gauge(0.05, 0.1, 0.3, most=0.4, negative=0.05, label="10 % changed"))
    assert 'class="pale" x="0" y="25%" height="50%" width="25.00%"' in svg
    assert 'class="full" x="0" y="25%" height="50%" width="12.50%"' in svg
    assert 'x1="12.50%" x2="75.00%"' in svg


def test_the_axis_names_what_the_lines_are() -> None:
    assert [word for word in ("0", "limit", "2 × limit") if f">{word}<" in axis_gauge()] == [
        "0",
        "limit",
        "2 × limit",
    ]
