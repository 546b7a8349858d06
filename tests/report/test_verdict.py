from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgetl.gate import judge
from edgetl.report import ReportData
from edgetl.report.facts import facts_of
from edgetl.report.verdict import amount, hero
from tests.report.helpers.made import POLICY, answers, predictions, report, verdict


def changed(gate: str, word: str, **values: Any) -> ReportData:
    """The release with one gate of ov-int8 rewritten."""
    data = report()
    document: dict[str, Any] = {**data.verdict, "verdict": word}
    variants = [
        entry
        | {
            "gates": [
                one | values | {"verdict": word} if one["name"] == gate else one
                for one in entry["gates"]
            ]
        }
        if entry["id"] == "ov-int8"
        else entry
        for entry in document["variants"]
    ]
    return replace(data, verdict=document | {"variants": variants})


def test_a_pass_says_on_how_many_images_what_ships_and_how_fast(whole) -> None:
    head = hero(facts_of(whole))
    assert head.outcome == "PASS" and "600 labelled inputs" in head.sentence
    assert "ov-int8 and ort-fp32" in head.sentence
    values = {what: (value, beside) for value, what, beside in head.shipped[0].figures}
    assert values["the speed of PyTorch"][0].endswith("×")
    assert "95 % interval" in values["the speed of PyTorch"][1]
    assert "ort-fp32" in values["the speed of the best FP32"][1]
    other = {what: beside for _, what, beside in head.shipped[1].figures}
    assert other["the speed of the best FP32"] == "which it is itself"


def test_a_fail_says_which_limit_is_broken() -> None:
    head = hero(facts_of(changed("nll", "FAIL", lower=0.2, estimate=0.3, upper=0.4)))
    assert head.shipped == () and "nothing ships" in head.sentence
    assert "ov-int8: NLL added is at least 0.2000 nats, over the limit 0.1000 nats." in head.remarks


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (812, "812 more labelled inputs would decide"),
        (1, "1 more labelled input would decide"),
        (None, "no number"),
    ],
)
def test_an_undecided_verdict_says_how_many_more_would_decide(more, words) -> None:
    head = hero(facts_of(changed("flips", "INCONCLUSIVE", more_samples=more)))
    assert head.tone == "unsure" and head.shipped == ()
    assert any(words in remark for remark in head.remarks)
    assert ("with 80 % power for each limit" in head.sentence) == (more is not None)


def test_a_required_backend_without_a_variant_is_named() -> None:
    data = report()
    document = {**data.verdict, "verdict": "FAIL", "required": ["tensorrt"]}
    head = hero(facts_of(replace(data, verdict=document)))
    assert head.remarks[0] == "tensorrt: no candidate was left to judge."
    assert head.sentence.startswith("A required backend has no candidate")


def test_the_level_is_the_one_that_was_judged_at() -> None:
    document = verdict(predictions(), ("ov-int8", "ort-fp32"))
    halved = [entry | {"alpha": 0.025} for entry in document["variants"]]
    head = hero(facts_of(ReportData(verdict=document | {"variants": halved})))
    assert "97.5 %" in head.policy and "shared by 2" in head.policy


def test_amounts_are_in_the_unit_of_their_gate() -> None:
    assert amount("flips", 0.031) == "3.10 %"
    assert amount("brier", -0.00001) == "0.0000"
    assert amount("nll", float("nan")) == "–"


def test_a_judgement_has_the_gates_that_the_page_has_words_for() -> None:
    from edgetl.report.verdict import GATES

    one = answers(300, ("a", "b"), noise=0.0)
    assert {gate.name for gate in judge(one, one, POLICY).gates} == set(GATES)
