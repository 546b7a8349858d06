from __future__ import annotations

import re
from xml.etree import ElementTree

import matplotlib
import pytest

from edgetl.report.theme import SERIES, WIDTH, axes, canvas, colour, to_svg


def drawn(name: str = "one", text: str = "words") -> str:
    with canvas(100) as figure:
        plot = axes(figure, left=30, right=10, top=10, bottom=30)
        for role, marker in SERIES:
            plot.plot([1, 2], [1, 2], marker=marker, color=colour(role))
        plot.text(1, 1, text)
        return str(to_svg(figure, name=name, label='a "label" <b>'))


def test_a_figure_is_one_well_formed_element_that_scales() -> None:
    root = ElementTree.fromstring(drawn().replace("xlink:href", "href"))
    assert root.tag == "svg"
    assert root.attrib["viewBox"] == f"0 0 {WIDTH} 100"
    assert "width" not in root.attrib
    assert root.attrib["aria-label"] == 'a "label" <b>'


def test_the_bytes_are_the_same_each_time_and_ids_differ_between_figures() -> None:
    assert drawn() == drawn()
    ids = [set(re.findall(r' id="([^"]+)"', drawn(name))) for name in ("one", "two")]
    assert ids[0] and not ids[0] & ids[1]


def test_nothing_but_the_page_decides_on_colours_and_fonts() -> None:
    svg = drawn()
    assert not re.search(r"(?:fill|stroke): #", svg)
    assert "var(--blue)" in svg and "font-family" not in svg and "DejaVu" not in svg
    assert "<style" not in svg and "<metadata" not in svg


@pytest.mark.parametrize(
    "text", ["$\\frac{", "</svg><script>alert(1)</script>", "日本語 🦊", "a & b"]
)
def test_text_stays_text(text: str) -> None:
    svg = drawn(text=text)
    root = ElementTree.fromstring(svg.replace("xlink:href", "href"))
    assert text in "".join(root.itertext())
    assert "<script" not in svg


def test_the_users_own_settings_change_nothing() -> None:
    before = drawn()
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red"}):
        assert drawn() == before
