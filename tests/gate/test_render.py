from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

from edgetl.files import canonical_json
from edgetl.gate import (
    ComparedVariant,
    GateResult,
    JudgedData,
    JudgedVariant,
    Policy,
    ReleaseVerdict,
    judge,
)
from edgetl.gate.render import exit_code, sentence, to_json, to_junit, to_markdown

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


@pytest.fixture
def everything(make, make_pair):
    """A release with every gate there is, of names that other formats would trip over."""
    slices = {"a|<b>": np.where(np.arange(2000) < 400, "x\x07`y`", "day")}
    policy = Policy(max_worst_class_drop=0.05, max_slice_drop=0.05, max_p99_ms=9.0)
    verdict = judge(
        make(slices=slices), make(wrong=range(40)), policy, bench=make_pair(1.0, rounds=5)
    )
    return ReleaseVerdict(
        policy=policy,
        data=JudgedData(name="made", split="test", n=2000, hash="0" * 64, bench="bench.json"),
        variants=(JudgedVariant(id="v", backend="b", precision="int8", file="m", verdict=verdict),),
    )


def test_names_and_bounds_that_are_not_there_go_into_every_form(everything):
    document = json.loads(canonical_json(to_json(everything)))
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["data"]["bench"] == "bench.json"
    gates = {gate["name"]: gate for gate in document["variants"][0]["gates"]}
    assert gates["p99_ms"]["upper"] is None
    assert "detail" not in gates["flips"]
    assert gates["slice:a|<b>=day"]["verdict"] == "PASS"
    root = ElementTree.fromstring(to_junit(everything))
    cases = {case.get("name"): case for case in root.findall(".//testcase")}
    assert set(cases) >= {"slice:a|<b>=day", "slice:a|<b>=x\ufffd`y`", "p99_ms", "worst_class"}
    text = to_markdown(everything)
    assert "<b>" not in text
    (row,) = [line for line in text.splitlines() if line.startswith("| slice:a\\|&lt;b>=day")]
    assert row.replace("\\|", "").count("|") == 8


def test_every_case_names_gate_figure_bound_and_limit(everything):
    root = ElementTree.fromstring(to_junit(everything))
    gates = {gate.name: gate for gate in everything.variants[0].verdict.gates}
    assert {gate.verdict for gate in gates.values()} == {"PASS", "FAIL", "INCONCLUSIVE"}
    for gate in gates.values():
        said = sentence(gate)
        assert said.startswith(f"{gate.name}: the harm seen is ")
        assert f"limit {gate.limit:g}" in said
        bound = gate.lower if gate.verdict == "FAIL" else gate.upper
        assert ("anything" if bound is None else f"{bound:.4g}") in said
    passed = [case for case in root.findall(".//testcase") if case.find("system-out") is not None]
    assert len(passed) == sum(gate.verdict == "PASS" for gate in gates.values())
    assert "at most" in passed[0].find("system-out").text


@pytest.mark.parametrize(
    ("gate", "unit"),
    [
        ("nll", "7 more labelled inputs would"),
        ("slice:camera=night", "7 more labelled inputs of the slice would"),
        ("latency", "7 more rounds of measurement would"),
        ("p99_ms", "7 more measured calls would"),
    ],
)
def test_an_open_gate_says_what_more_would_decide_it(gate, unit):
    result = GateResult(name=gate, estimate=0.5, lower=0.1, upper=1.5, limit=1.0, n=9,
                        verdict="INCONCLUSIVE", more_samples=7)  # fmt: skip
    assert unit in sentence(result)
    assert "no number of further" in sentence(replace(result, more_samples=None))
    unbounded = replace(result, more_samples=None, estimate=None, upper=None, detail="why")
    assert sentence(unbounded).startswith(f"{gate}: the harm seen is unknown, between 0.1 and")
    assert sentence(unbounded).endswith("nothing bounds it (why)")


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
