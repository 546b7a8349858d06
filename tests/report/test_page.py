from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from edgetl.errors import GateError
from edgetl.report import ReportData, render_report, report_from_predictions, write_report
from tests.report.helpers.made import CLASSES, answers, predictions, report, verdict

SECTIONS = (
    "verdict",
    "margins",
    "undecided",
    "variants",
    "waterfall",
    "changes",
    "calibration",
    "thresholds",
    "conformal",
    "flips",
    "tradeoff",
    "latency",
    "confusion",
    "classes",
    "training",
    "transfer",
    "labels",
    "environment",
)


class Reader(HTMLParser):
    """Every tag with its attributes, and whether what is opened is closed."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert len(dict(attributes)) == len(attributes), f"an attribute twice in <{tag}>"
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_holds_every_section_and_closes_every_tag(page) -> None:
    reader = Reader(page)
    assert reader.open == []
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert [name for name in ids if name in SECTIONS] == list(SECTIONS)
    assert len(set(ids)) == len(ids)
    assert "Not in this report" not in page


def test_the_page_loads_nothing_and_runs_nothing(page) -> None:
    reader = Reader(page)
    for tag, attributes in reader.tags:
        assert tag not in ("script", "iframe", "object", "embed", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name.endswith(("src", "href")):
                assert value and value.startswith(("#", "data:"))
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert "default-src 'none'" in page


def test_equal_data_gives_equal_bytes(whole, page) -> None:
    assert render_report(whole) == page
    assert render_report(report()) == page


def test_no_date_is_in_the_page(page) -> None:
    assert not re.search(r"\b20\d\d-\d\d-\d\d", page)


def test_every_figure_says_what_it_shows_and_every_picture_too(page) -> None:
    reader = Reader(page)
    figures = [attributes for tag, attributes in reader.tags if tag == "svg"]
    drawn = [found for found in figures if found.get("role") == "img"]
    assert len(drawn) >= 30
    assert all(len(found["aria-label"] or "") > 30 for found in drawn)
    # The others are parts of one that says it, or words that its table says too.
    assert all("aria-label" not in found for found in figures if found not in drawn)
    pictures = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert pictures and all(found["alt"] for found in pictures)


def test_every_figure_takes_its_colours_from_the_page(page) -> None:
    defined = set(re.findall(r"(--[a-z]+): ", page[: page.index("</style>")]))
    drawn = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.S))
    assert not re.search(r"#[0-9a-f]{6}", re.sub(r"(?:href=\"|url\()#\w+", "", drawn))
    assert set(re.findall(r"var\((--[a-z]+)\)", drawn)) <= defined


def test_a_verdict_alone_renders_and_says_what_is_missing() -> None:
    data = ReportData(verdict=verdict(predictions(), ("ov-int8",)))
    page = render_report(data)
    assert Reader(page).open == []
    assert 'id="margins"' in page and 'id="latency"' not in page
    for missing in ("Latency: no measurements", "Calibration of the probabilities: no labelled"):
        assert missing in page


def test_stored_predictions_alone_render() -> None:
    on = predictions()["test"]
    document = verdict(predictions(), ("ov-int8",))
    page = render_report(report_from_predictions(on["reference"], on["ov-int8"], document))
    present = {attributes.get("id") for _, attributes in Reader(page).tags}
    sections = {"verdict", "variants", "margins", "calibration", "confusion", "flips", "changes"}
    assert sections <= present and not {"waterfall", "thresholds", "conformal"} & present
    assert "ov-int8, by camera" in page and "camera = night" in page
    assert "n = 600" in page and "right → wrong" in page


def test_predictions_of_several_variants_are_refused() -> None:
    one = answers(50, CLASSES, noise=0.0)
    document = verdict(predictions(), ("ov-int8", "ort-fp32"))
    with pytest.raises(GateError, match="2 variants"):
        report_from_predictions(one, one, document)


def test_a_document_that_is_no_verdict_is_refused() -> None:
    with pytest.raises(GateError, match="without data, policy, variants"):
        ReportData(verdict={"verdict": "PASS"})


def test_a_report_is_written_whole(tmp_path, whole, page) -> None:
    write_report(tmp_path / "deep" / "report.html", whole)
    assert (tmp_path / "deep" / "report.html").read_text(encoding="utf-8") == page
    assert len(page.encode()) < 3_000_000


def test_unlabelled_predictions_render() -> None:
    from edgetl.gate import Predictions

    on = predictions()["test"]
    bare = {
        name: Predictions(probabilities=one.probabilities, ids=one.ids) for name, one in on.items()
    }
    data = ReportData(verdict=verdict(predictions(), ("ov-int8",)), predictions={"test": bare})
    page = render_report(data)
    assert 'id="flips"' in page and 'id="calibration"' not in page and "unknown" in page


def test_many_classes_become_a_list_of_pairs() -> None:
    classes = tuple(f"class {k}" for k in range(120))
    page = render_report(report(classes))
    assert "most frequent mistakes" in page and "the largest losses" in page
    assert Reader(page).open == []
    assert len(page.encode()) < 3_000_000


def test_the_room_imports_nothing_heavy_until_it_is_used() -> None:
    code = (
        "import sys, edgetl.report\n"
        "heavy = {'matplotlib', 'jinja2', 'numpy', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from edgetl.report import ReportData, Flip\n"
        "assert not {'matplotlib', 'jinja2', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
