from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from edgetl.files import canonical_json
from edgetl.gate import ComparedVariant, JudgedData, JudgedVariant, Policy, ReleaseVerdict, judge
from edgetl.gate.render import exit_code, to_json, to_junit, to_markdown

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "verdict-1.json"


@pytest.fixture
def release(make, make_pair):
    judged = {
        "good": judge(make(), make(), Policy(), bench=make_pair()),
        "bad|<b>\x07": judge(make(), make(wrong=range(100)), Policy()),
        "few": judge(make(100), make(100), Policy()),
    }
    return ReleaseVerdict(
        policy=Policy(),
        data=JudgedData(
            name="made | up", split="test", n=2000, hash="0" * 64, predictions={"good": "g.npz"}
        ),
        variants=tuple(
            JudgedVariant(
                id=name, backend=name[:3], precision="int8", file="m.onnx", verdict=verdict
            )
            for name, verdict in judged.items()
        ),
    )


def test_json_keeps_to_its_schema(release):
    document = json.loads(canonical_json(to_json(release)))
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["verdict"] == "FAIL"
    assert document["policy"]["max_brier_increase"] == 0.005
    assert [gate["verdict"] for gate in document["variants"][1]["gates"]][-1] == "NOT JUDGED"
    document["variants"][0]["gates"][0]["verdict"] = "passed"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json.loads(SCHEMA.read_text()))


def test_junit_has_a_case_per_gate(release):
    root = ElementTree.fromstring(to_junit(release))
    suites = {suite.get("name"): suite for suite in root}
    assert set(suites) == {"good", "bad|<b>\ufffd", "few"}
    assert [len(suite.findall("testcase")) for suite in root] == [7, 7, 7]
    assert suites["good"].find(".//failure") is None
    assert suites["good"].get("failures") == suites["good"].get("errors") == "0"
    bad = suites["bad|<b>\ufffd"]
    assert len(bad.findall(".//failure")) == int(bad.get("failures")) >= 1
    assert len(bad.findall(".//skipped")) == 1
    error = suites["few"].find(".//error")
    assert "168 more labelled inputs" in error.get("message")


def test_markdown_says_what_is_open(release):
    text = to_markdown(release)
    assert text.startswith("# FAIL\n")
    assert "168 more labelled inputs would decide it with 80 % power" in text
    assert "made \\| up" in text
    assert "<b>" not in text
    rows = [line for line in text.splitlines() if line.startswith("| top1_drop")]
    assert len(rows) == 3
    assert {row.count(" | ") for row in rows} == {6}


def test_exit_codes():
    assert [exit_code(name) for name in ("PASS", "FAIL", "INCONCLUSIVE")] == [0, 1, 4]


@pytest.fixture
def barred(release):
    metrics = dict.fromkeys(("top1", "nll", "brier", "ece", "mean_entropy"), 0.5)
    entry = ComparedVariant(
        id="ort-int8",
        backend="onnxruntime",
        eligible=False,
        chosen=False,
        reason="nll on val | is 0.05\x07",
        p50_ms=1.5,
        metrics=metrics,
    )
    return replace(release, variants=(), required=("onnxruntime", "openvino"), selection=(entry,))


def test_a_verdict_without_a_gate_keeps_the_reasons(barred):
    document = json.loads(canonical_json(to_json(barred)))
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["verdict"] == "FAIL"
    assert document["selection"][0]["reason"].startswith("nll on val")
    assert document["selection"][0]["split"] == "val"
    (suite,) = ElementTree.fromstring(to_junit(barred))
    assert suite.get("failures") == "2"
    messages = {
        case.get("name"): case.find("failure").get("message") for case in suite.findall("testcase")
    }
    assert "ort-int8: nll on val" in messages["onnxruntime"]
    assert "no candidate to judge" in messages["openvino"]
    rows = [line for line in to_markdown(barred).splitlines() if line.startswith("| ort-int8")]
    assert len(rows) == 1 and "nll on val \\| is 0.05" in rows[0]
    assert "## Candidates on val" in to_markdown(barred)


def test_without_a_selection_nothing_is_said_of_one(release):
    assert "selection" not in to_json(release)
    assert "Candidates" not in to_markdown(release)
    assert b"selection" not in to_junit(release)
