"""The page for a keyboard and a screen reader: what an automated audit would ask of its markup."""

from __future__ import annotations

from html.parser import HTMLParser
from itertools import pairwise

import pytest

from edgetl.report import render_report, report_from_predictions
from tests.report.helpers.made import predictions, verdict

Attributes = dict[str, str | None]


class Audit(HTMLParser):
    """The elements in order, each with its attributes, the tags around it and its text."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, Attributes, tuple[str, ...]]] = []
        self.texts: list[str] = []
        self._open: list[int] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        around = tuple(self.found[at][0] for at in self._open)
        self.found.append((tag, dict(attributes), around))
        self.texts.append("")
        if tag not in self.VOID:
            self._open.append(len(self.found) - 1)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for at in self._open:
            self.texts[at] += data

    def all(self, *tags: str) -> list[tuple[Attributes, str]]:
        """Each element of these tags with its text."""
        return [
            (attributes, text.strip())
            for (tag, attributes, _), text in zip(self.found, self.texts, strict=True)
            if tag in tags
        ]


def compared() -> str:
    on = predictions()["test"]
    document = verdict(predictions(), ("ov-int8",))
    return render_report(report_from_predictions(on["reference"], on["ov-int8"], document))


@pytest.fixture(scope="module", params=["release", "comparison"])
def audit(request: pytest.FixtureRequest, page: str) -> Audit:
    return Audit(page if request.param == "release" else compared())


def test_one_main_heading_and_no_level_is_left_out(audit: Audit) -> None:
    levels = [int(tag[1]) for tag, _, _ in audit.found if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(text for _, text in audit.all("h1", "h2", "h3"))


def test_everything_is_in_a_landmark(audit: Audit) -> None:
    tags = [tag for tag, _, around in audit.found if around == ("html", "body")]
    assert tags == ["a", "header", "main", "footer"]
    assert len(audit.all("main")) == len(audit.all("nav")) == 1
    assert audit.all("nav")[0][0]["aria-label"]


def test_the_verdict_comes_first_and_a_link_leads_to_it(audit: Audit) -> None:
    at = [tag for tag, _, _ in audit.found].index("body")
    tag, attributes, _ = audit.found[at + 1]
    assert (tag, attributes["href"]) == ("a", "#verdict")
    first = next(one for one, _ in audit.all("section"))
    assert first["id"] == "verdict" and first["tabindex"] == "-1"


def test_every_reference_has_its_one_target(audit: Audit) -> None:
    ids = [str(one["id"]) for _, one, _ in audit.found if "id" in one]
    assert len(set(ids)) == len(ids)
    for _, attributes, _ in audit.found:
        href = attributes.get("href") or ""
        if href.startswith("#"):
            assert href[1:] in ids
        for name in ("aria-labelledby", "aria-describedby"):
            assert all(one in ids for one in (attributes.get(name) or "").split())


def test_every_section_and_region_has_a_name_of_its_own(audit: Audit) -> None:
    titles = {str(one["id"]): text for one, text in audit.all("h2") if "id" in one}
    names = [titles[str(one["aria-labelledby"])] for one, _ in audit.all("section")]
    assert len(set(names)) == len(names) and all(names)
    for _, attributes, _ in audit.found:
        if attributes.get("role") == "region":
            assert attributes["aria-label"] and attributes["tabindex"] == "0"


def test_every_table_has_a_caption_and_every_head_a_scope(audit: Audit) -> None:
    tables = audit.all("table")
    captions = [
        text
        for (tag, _, around), text in zip(audit.found, audit.texts, strict=True)
        if tag == "caption" and around[-1] == "table"
    ]
    assert len(captions) == len(tables) > 3 and all(captions)
    for attributes, text in audit.all("th"):
        assert attributes["scope"] in ("col", "row", "rowgroup")
        assert text or attributes["scope"] == "row"
    assert all(text for attributes, text in audit.all("th") if attributes["scope"] == "col")


def test_tables_that_are_set_as_grids_keep_their_roles(audit: Audit) -> None:
    """A browser takes a table's meaning away with its display."""
    roles = {"thead": "rowgroup", "tbody": "rowgroup", "tr": "row", "td": "cell"}
    inside = False
    for tag, attributes, around in audit.found:
        if tag == "table":
            inside = str(attributes.get("class")).startswith(("forest", "stacked"))
            assert (attributes.get("role") == "table") == inside
        elif inside and "table" in around and tag in roles:
            assert attributes["role"] == roles[tag]


def test_every_picture_has_words(audit: Audit) -> None:
    for attributes, _ in audit.all("img"):
        assert len(attributes["alt"] or "") > 10
    for tag, attributes, around in audit.found:
        if tag == "svg" and "svg" not in around:
            words = attributes.get("aria-label")
            assert attributes.get("aria-hidden") == "true" or (
                attributes["role"] == "img" and words and len(words) > 30
            )


def test_no_outcome_is_told_by_colour_alone(audit: Audit) -> None:
    words = {"pass": ("✓", "PASS"), "fail": ("✕", "FAIL"), "unsure": ("?", "INCONCLUSIVE")}
    cells = 0
    for attributes, text in audit.all("td", "span"):
        for tone, told in words.items():
            if f"tone-{tone}" in str(attributes.get("class")):
                cells += 1
                assert any(word in text for word in told) or "wrong" in text or "few" in text
    assert cells > 10


def test_what_opens_is_a_summary_and_nothing_else_takes_the_focus(audit: Audit) -> None:
    assert all(text for _, text in audit.all("summary"))
    assert len(audit.all("summary")) == len(audit.all("details")) > 1
    for _, attributes, _ in audit.found:
        assert attributes.get("tabindex") in (None, "0", "-1")
        assert "autofocus" not in attributes and "accesskey" not in attributes
