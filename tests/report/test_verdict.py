from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgetl.report import ReportData, render_report, report_from_predictions
from edgetl.report.facts import facts_of
from edgetl.report.gates import GATES, amount, kind_of_gate
from edgetl.report.verdict import hero
from tests.report.helpers.made import predictions, report, verdict


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


def test_the_reference_is_called_what_it_is() -> None:
    data = report()
    brought = [dict(row) for row in data.rows]
    brought[0]["backend"] = "onnxruntime"
    data = replace(data, waterfalls=())
    page = render_report(replace(data, rows=brought))
    assert "the speed of the ONNX file" in page and "× ONNX file" in page
    assert "control: the ONNX file again" in page and "PyTorch" not in page
    unknown = render_report(replace(data, rows=()))
    assert "the speed of the reference" in unknown and "PyTorch" not in unknown


def test_when_nothing_was_judged_the_head_says_why() -> None:
    data = report()
    entry = {"backend": "openvino", "metrics": {}, "chosen": False, "split": "val"}
    document = {
        **data.verdict,
        "verdict": "FAIL",
        "variants": [],
        "required": ["openvino"],
        "data": {**data.verdict["data"], "split": "val", "n": 200},
        "selection": [
            entry | {"id": "ov-fp32", "p50_ms": 2.0, "reason": "slow"},
            entry | {"id": "ov-int8", "p50_ms": 1.0, "reason": "over max_p50_ratio"},
        ],
    }
    found = replace(data, verdict=document)
    head = hero(facts_of(found))
    assert head.remarks == (
        "openvino: no candidate was left to judge. The fastest, ov-int8: over max_p50_ratio.",
    )
    assert head.policy == "" and not head.judged
    page = render_report(found)
    assert "compared on" in page and "<dt>judged on" not in page
    assert "Every bound" not in page and "whole interval is under" not in page


def test_a_latency_alone_undecided_does_not_blame_the_inputs() -> None:
    numbers = {"lower": 0.9, "estimate": 1.0, "upper": 1.1, "limit": 1.0}
    for more, plan in (
        (40, " 40 more rounds of measurement would, with 80 % power for the limit."),
        (None, ""),
    ):
        found = changed("latency", "INCONCLUSIVE", more_samples=more, **numbers)
        assert hero(facts_of(found)).sentence == (
            "The latency measured does not decide whether it is within its limit; undecided is "
            "not a pass, so nothing ships." + plan
        )


def test_stored_answers_show_the_limits_that_judged_them_and_ship_nothing() -> None:
    on = predictions()["test"]
    document = verdict(predictions(), ("ov-int8",))
    data = report_from_predictions(on["reference"], on["ov-int8"], document)
    page = render_report(data)
    assert "<title>PASS · ov-int8 against reference" in page
    assert "p50 against" not in page.partition("<nav")[0]
    assert "ship" not in page[page.index("<body>") :].replace('class="shipped"', "")
    assert "Latencies hold" not in page and "table of executions" not in page
    for word in ("FAIL", "INCONCLUSIVE"):
        variants = [entry | {"verdict": word} for entry in document["variants"]]
        other = document | {"verdict": word, "variants": variants}
        assert "ship" not in hero(facts_of(replace(data, verdict=other))).sentence


def test_a_tiny_limit_is_written_out_and_so_are_the_harms_beside_it() -> None:
    tiny = {"limit": 1e-9, "lower": 2e-9, "estimate": 3e-9, "upper": 4e-9}
    data = changed("nll", "FAIL", **tiny)
    data = replace(
        data,
        verdict={**data.verdict, "policy": {**data.verdict["policy"], "max_nll_increase": 1e-9}},
    )
    head = hero(facts_of(data))
    assert ("NLL added", "≤ 1.0e−09 nats") in head.limits
    assert any("at least 2.0e−09 nats, over the limit 1.0e−09 nats" in one for one in head.remarks)


def test_amounts_are_in_the_unit_of_their_gate() -> None:
    assert amount("flips", 0.031) == "3.10 %"
    assert amount("brier", -0.00001) == "0.0000"
    assert amount("nll", float("nan")) == "–"


def test_a_judgement_has_the_gates_that_the_page_has_words_for(whole) -> None:
    named = {
        kind_of_gate(gate["name"]) for entry in whole.verdict["variants"] for gate in entry["gates"]
    }
    assert named <= {*GATES, "slice"} and len(named) > 8
    assert {"p90_ratio", "p99_ms", "size_mb", "memory_mb"} < set(GATES)


def test_the_closest_call_is_in_the_sentence_of_a_pass(whole) -> None:
    said = hero(facts_of(whole)).sentence
    assert "The closest call: confidence gap is at most" in said and "5.00 pt is allowed" in said


def test_a_fail_says_why_in_its_sentence() -> None:
    found = changed("nll", "FAIL", lower=0.2, estimate=0.3, upper=0.4)
    entry = found.verdict["variants"][0] | {"verdict": "FAIL"}
    document = {**found.verdict, "variants": [entry, *found.verdict["variants"][1:]]}
    said = hero(facts_of(replace(found, verdict=document))).sentence
    assert "ov-int8 is shown to break a limit of harm, so nothing ships" in said
    assert said.endswith("NLL added is at least 0.2000 nats, and 0.1000 nats is allowed.")


def test_what_a_gate_says_beside_its_figures_is_remarked() -> None:
    found = changed("worst_class", "FAIL", lower=0.3, detail="shown for the class 'dog'")
    assert any("(shown for the class 'dog')" in one for one in hero(facts_of(found)).remarks)


def test_a_limit_that_is_off_is_not_listed(whole) -> None:
    named = [name for name, _ in hero(facts_of(whole)).limits]
    assert "each slice: top-1 lost" in named and "worst class: recall lost" in named
    assert not any(word in named for word in ("p99", "size", "peak memory"))


def test_what_would_decide_everything_is_summed_up_in_the_units_of_the_gates() -> None:
    found = changed("flips", "INCONCLUSIVE", more_samples=812)
    entry = found.verdict["variants"][0]
    extra = next(gate for gate in entry["gates"] if gate["name"] == "nll") | {
        "verdict": "INCONCLUSIVE"
    }
    gates = [
        *entry["gates"],
        extra | {"name": "p99_ms", "upper": None, "more_samples": 248},
        extra | {"name": "slice:camera=night", "n": 60, "more_samples": 100},
    ]
    variants = [entry | {"gates": gates}, *found.verdict["variants"][1:]]
    said = hero(facts_of(replace(found, verdict={**found.verdict, "variants": variants}))).sentence
    # A tenth of the inputs are of the slice.
    assert said.endswith(
        "1,000 more labelled inputs and 248 more measured calls would, with 80 % power for each "
        "limit."
    )


def test_of_many_gates_the_failed_ones_come_first_and_the_rest_is_counted() -> None:
    found = changed("nll", "FAIL", lower=0.2, estimate=0.3, upper=0.4)
    entry = found.verdict["variants"][0]
    opened = [
        gate | {"verdict": "INCONCLUSIVE", "more_samples": 5}
        for gate in entry["gates"]
        if gate["name"] not in ("nll", "latency")
    ]
    failed = next(gate for gate in entry["gates"] if gate["name"] == "nll")
    variants = [entry | {"gates": [*opened, failed]}]
    remarks = hero(
        facts_of(replace(found, verdict={**found.verdict, "variants": variants}))
    ).remarks
    assert remarks[0].startswith("ov-int8: NLL added is at least 0.2000 nats")
    assert (
        len(remarks) == 7
        and remarks[-1] == f"{len(opened) - 5} further gates did not pass: see below."
    )
