"""A report made from hostile words: class names, variants, warnings and settings are foreign."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from edgetl.report import ReportData, render_report
from tests.report.helpers.made import predictions, report, verdict

WORDS = (
    "<script>alert(1)</script>",
    "</svg><img src=x onerror=alert(1)>",
    "</style><script>alert(2)</script>",
    '" onload="alert(3)" x="',
    "$\\frac{",
    "{{ 7 * 7 }}{% raw %}",
    "\x00\x1b[31m\u202egnp.exe",
    "'};alert(4);//",
    "#010210",
    "x" * 5000,
    "日本語 🦊 \u202e",
    "&lt;script&gt;",
)


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.attributes: set[str] = set()
        self.sources: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes |= {name for name, _ in attributes}
        self.sources |= {str(value)[:5] for name, value in attributes if name == "src"}


@pytest.fixture(scope="module")
def plain() -> Tags:
    return Tags(render_report(report(tuple(f"plain {k}" for k in range(len(WORDS))))))


def test_hostile_class_names_make_no_tags(plain: Tags) -> None:
    page = render_report(report(WORDS))
    found = Tags(page)
    assert set(found.seen) == set(plain.seen)
    assert found.attributes == plain.attributes and found.sources <= {"data:"}
    assert "<script" not in page and "{{" in page and "49" not in page.split("{{")[1][:9]
    assert "\x00" not in page and "\u202e" not in page and len(page) < 3_000_000


@pytest.mark.parametrize("word", WORDS)
def test_every_other_text_is_foreign_too(word: str, plain: Tags) -> None:
    on = predictions()
    sides = {"reference": on["test"]["reference"], word: on["test"]["ov-int8"]}
    document = verdict(on, ("ov-int8",))
    entry = document["variants"][0] | {"id": word, "backend": word, "notes": [word]}
    document |= {
        "variants": [entry],
        "required": [word, "absent"],
        "selection": [{"id": word, "chosen": True, "reason": word, "split": "val"}],
        "data": document["data"] | {"name": word},
    }
    data = ReportData(
        verdict=document,
        name=word,
        version=word,
        predictions={"test": sides},
        machine={word: word, "packages": {word: word}, "warnings": [word]},
        config={word: word},
        hashes={word: word},
        execution={word: {"backend": word, "device": word, "layers": [{"precision": word}]}},
        openings=[{"winners": {word: word}, "policy": word}],
        rows=[{"id": word, "precision": word, "verdict": word, "split": word}],
    )
    page = render_report(data)
    found = Tags(page)
    assert set(found.seen) <= {*plain.seen, "ul", "li"}
    assert not any(name.startswith("on") for name in found.attributes)
    assert len(page) < 3_000_000


def test_values_that_are_no_numbers_are_shown_as_none() -> None:
    data = report()
    rows = [dict(row) | {"top1": float("nan"), "p50_ms": None, "nll": "x"} for row in data.rows]
    page = render_report(replace(data, rows=rows))
    words = re.sub(r"data:[^\"]+", "", page)
    assert not re.search(r"\b(nan|NaN|None|inf)\b", words) and "–" in words
