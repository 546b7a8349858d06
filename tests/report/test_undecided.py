from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgetl.report import ReportData
from edgetl.report.facts import facts_of
from edgetl.report.undecided import section, why_open


def opened(data: ReportData, **changes: Any) -> ReportData:
    """The release with one variant that has one open gate."""
    gate = {
        "name": "nll",
        "estimate": 0.01,
        "lower": -0.01,
        "upper": 0.03,
        "limit": 0.02,
        "n": 600,
        "verdict": "INCONCLUSIVE",
        "more_samples": 812,
    }
    entry = {**data.verdict["variants"][0], "gates": [gate | changes]}
    return replace(data, verdict={**data.verdict, "variants": [entry]})


@pytest.mark.parametrize(
    ("changes", "why", "what"),
    [
        (
            {},
            "it may be as high as 0.0300 nats, and the limit is 0.0200 nats",
            "812 more labelled inputs would decide it with 80 % power",
        ),
        (
            {"more_samples": None},
            "it may be as high as 0.0300 nats, and the limit is 0.0200 nats",
            "no number of further samples decides it while the harm lies on the limit",
        ),
        (
            {"lower": 0.021},
            "at least 0.0210 nats on its own, over the limit 0.0200 nats, but not with several "
            "gates allowed for",
            "812 more labelled inputs would decide it with 80 % power",
        ),
        (
            {"name": "p99_ms", "upper": None, "limit": 20.0, "n": 240, "more_samples": 59},
            "nothing bounds it from above; the limit is 20.0 ms",
            "59 more measured calls would decide it with 80 % power",
        ),
        (
            {"name": "slice:camera=night", "limit": 0.03, "upper": 0.05},
            "it may be as high as 5.00 pt, and the limit is 3.00 pt",
            "812 more labelled inputs of the slice would decide it with 80 % power",
        ),
        (
            {"name": "p90_ratio", "limit": 1.0, "upper": 1.2, "more_samples": 1},
            "it may be as high as 1.20×, and the limit is 1.00×",
            "1 more round of measurement would decide it with 80 % power",
        ),
        ({"verdict": "NOT JUDGED"}, "there is no measurement", "a measurement"),
    ],
)
def test_an_open_gate_says_why_and_what_would_close_it(whole, changes, why, what) -> None:
    found = section(facts_of(opened(whole, **changes)))
    assert found is not None
    (row,) = found.blocks[0].rows
    assert (row[3].text, row[4].text) == (why, what)


def test_what_the_gate_itself_says_is_added_once(whole) -> None:
    found = section(facts_of(opened(whole, detail="the class 'eel': 12 images")))
    assert found is not None
    assert found.blocks[0].rows[0][3].text.endswith("0.0200 nats; the class 'eel': 12 images")
    bare = {"name": "latency", "verdict": "NOT JUDGED", "detail": "there is no bench"}
    assert why_open(bare) == "there is no bench"


def test_what_the_policy_does_not_ask_is_said(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    assert found.blocks[-1].text == (
        "The policy sets no limit for p90, p99, size and peak memory: nothing is said about these."
    )


def test_when_all_was_asked_and_decided_there_is_no_section(whole) -> None:
    data = opened(whole, verdict="PASS")
    policy = {key: 1.0 if value is None else value for key, value in data.verdict["policy"].items()}
    assert section(facts_of(replace(data, verdict={**data.verdict, "policy": policy}))) is None
    nothing = {**data.verdict, "variants": []}
    assert section(facts_of(replace(data, verdict=nothing))) is None
