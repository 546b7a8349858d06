"""A report made from hostile words: class names, variants, warnings and settings are foreign."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from edgetl.errors import GateError
from edgetl.gate import Predictions
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


@pytest.fixture(scope="module")
def release() -> ReportData:
    """The verdict with the documents of other stages, which render in no time."""
    whole = report()
    documents = {name: getattr(whole, name) for name in ("waterfalls", "thresholds", "conformal")}
    return ReportData(verdict=whole.verdict, **documents)


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


def broken(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy with one value replaced, or left out where it is `...`."""
    found = json.loads(json.dumps(document))
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    at: Any = found
    for part in way:
        at = at[part]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return found


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        ("waterfall", "schema", "edgetl.bench/1", "the schema edgetl.bench/1"),
        ("waterfall", "schema", ..., "a document without a schema"),
        ("waterfall", "n", 0, "n = 0"),
        ("waterfall", "n", "many", "n that is no number"),
        ("waterfall", "steps", {}, "steps that is no list of objects"),
        ("waterfall", "steps.3.flips", None, "step 3: flips that is no number"),
        ("waterfall", "steps.2.name", 7, "step 2: name that is no text"),
        ("waterfall", "total", ..., "total that is no object"),
        ("waterfall", "layers.0.sqnr_db", "loud", "layer: sqnr_db that is no number"),
        ("thresholds", "schema", "edgetl.thresholds/2", "the schema edgetl.thresholds/2"),
        ("thresholds", "variants", [], "variants that is no object"),
        ("thresholds", "variants.ov-int8", 3, "ov-int8 that is no object"),
        ("thresholds", "variants.ov-int8.reference", "x", "reference that is no list of numbers"),
        ("thresholds", "variants.ov-int8.acceptance.low", [0.1], "another length"),
        ("thresholds", "variants.ov-int8.on_test.points", 1, "points that is no list of objects"),
        ("conformal", "reference", ..., "reference that is no object"),
        ("conformal", "variants.ov-int8.on_test", [], "on_test that is no object"),
        ("conformal", "reference.on_test.sets.0.coverage", None, "coverage that is no number"),
        ("conformal", "reference.on_test.sets.0.method", 1, "method that is no text"),
    ],
)
def test_a_damaged_or_foreign_document_is_refused_by_name(
    release: ReportData, kind: str, path: str, value: object, said: str
) -> None:
    names = {"waterfall": "waterfalls", "thresholds": "thresholds", "conformal": "conformal"}
    given = getattr(release, names[kind])
    document = broken(given[0] if kind == "waterfall" else given, path, value)
    with pytest.raises(GateError) as raised:
        given = (document,) if kind == "waterfall" else document
        render_report(replace(release, **{names[kind]: given}))
    assert raised.value.subject == f"report: edgetl.{kind}/1"
    assert said in raised.value.got and raised.value.fix


@pytest.mark.parametrize("word", WORDS)
def test_the_words_of_other_stages_are_foreign_too(
    release: ReportData, plain: Tags, word: str
) -> None:
    steps = json.loads(json.dumps(release.waterfalls[0])) | {"variant": word, "split": word}
    for step in (*steps["steps"], steps["total"]):
        step |= {"name": word, "from": word, "to": word, "note": word}
    steps["layers"] = [{"name": word, "operator": word, "sqnr_db": 1.0}]
    assert release.thresholds is not None and release.conformal is not None
    thresholds = {word: release.thresholds["variants"]["ov-int8"]}
    sets = json.loads(json.dumps(release.conformal["reference"]))
    sets["on_test"]["sets"][0]["method"] = word
    entry = release.verdict["variants"][0]
    gates = [gate | {"detail": word} for gate in entry["gates"]]
    gates += [gates[0] | {"name": f"slice:{word}={word}"}, gates[0] | {"name": word}]
    document = {**release.verdict, "variants": [entry | {"gates": gates}]}
    page = render_report(
        replace(
            release,
            verdict=document,
            waterfalls=(steps,),
            thresholds={**release.thresholds, "variants": thresholds},
            conformal={**release.conformal, "reference": sets, "variants": {word: sets}},
        )
    )
    found = Tags(page)
    assert set(found.seen) <= {*plain.seen, "ul", "li"}
    assert found.attributes <= plain.attributes and len(page) < 3_000_000


def test_hostile_slices_make_no_tags(release: ReportData, plain: Tags) -> None:
    sides = {
        name: Predictions(
            labels=one.labels,
            probabilities=one.probabilities,
            classes=one.classes,
            slices={word: np.array(WORDS)[np.arange(one.n) % len(WORDS)] for word in WORDS[:3]},
        )
        for name, one in predictions()["test"].items()
    }
    found = Tags(render_report(replace(release, predictions={"test": sides})))
    assert set(found.seen) <= set(plain.seen) and found.attributes <= plain.attributes
