from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetl.gate.annotations import github_annotations

# As a runner reads a line: trimmed, "::name properties::message" (actions/toolkit, command.ts).
LINE = re.compile(r"^::error title=([^,:]*)::(.*)$", re.DOTALL)


def gate(verdict: str, name: str = "nll", **more: object) -> dict[str, object]:
    found = {"estimate": 0.031, "lower": 0.025, "upper": 0.037, "limit": 0.02, "n": 600}
    return {"name": name, "verdict": verdict, "more_samples": 0} | found | more


def document(*gates: dict[str, object], identity: str = "ort-int8", **more: object) -> dict:
    variant = {"id": identity, "backend": "onnxruntime", "gates": list(gates)}
    return {"schema": "edgetl.verdict/1", "verdict": "FAIL", "variants": [variant]} | more


def unescaped(text: str) -> str:
    for sign, code in (("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C"), ("%", "%25")):
        text = text.replace(code, sign)
    return text


def test_a_line_names_the_gate_the_figure_the_bound_and_the_limit():
    (line,) = github_annotations(document(gate("FAIL"), gate("PASS", "brier")))
    title, message = LINE.match(line).groups()
    assert unescaped(title) == "edgetl FAIL: ort-int8 nll"
    assert message == "nll 0.031, at least 0.025, limit 0.02; n 600"


def test_what_failed_comes_before_what_is_open():
    lines = github_annotations(
        document(gate("INCONCLUSIVE", "brier", more_samples=250), gate("FAIL"), gate("NOT JUDGED"))
    )
    assert ["FAIL" in line for line in lines] == [True, False]
    assert lines[1].endswith(
        "at most 0.037, limit 0.02; n 600; 250 more labelled inputs would decide it"
    )


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("latency", 12, "12 more rounds of measurement"),
        ("p99_ms", 299, "299 more measured calls"),
        ("nll", None, "no number of further samples"),
    ],
)
def test_open_gates_say_what_would_decide(name, more, said):
    (line,) = github_annotations(document(gate("INCONCLUSIVE", name, more_samples=more)))
    assert said in line


def test_a_figure_that_is_not_known_is_left_out():
    (line,) = github_annotations(
        document(gate("INCONCLUSIVE", estimate=None, lower=None, upper=None, more_samples=None))
    )
    assert "None" not in line and "nll not known, limit 0.02" in line


def test_a_backend_without_a_candidate_is_a_line():
    (line,) = github_annotations(document(gate("PASS"), required=["openvino", "onnxruntime"]))
    assert "openvino" in line and "no candidate" in line


def test_a_pass_says_nothing_and_no_judgement_something():
    assert github_annotations(document(gate("PASS"), verdict="PASS")) == []
    (line,) = github_annotations(document(verdict="INCONCLUSIVE"))
    assert "nothing was judged" in line


hostile = st.text(alphabet="ab:,%\r\n\x1b\x85\u2028#[]<>|") | st.sampled_from(
    ["\n::set-env name=PATH::/tmp", "x::error::y", "%0A::stop-commands::z", "##[error]no", "a,b:c"]
)


@given(hostile, hostile)
def test_no_name_ends_its_line_or_begins_another_command(identity, slice_value):
    hurt = gate("FAIL", f"slice:camera={slice_value}", detail=slice_value)
    (line,) = github_annotations(document(hurt, identity=identity))
    assert len(line.splitlines()) == 1
    found = LINE.match(line)
    assert found is not None
    assert "##[" not in line
    # What a runner decodes has no line end either.
    assert not set("\r\n") & set(unescaped(found.group(1)) + unescaped(found.group(2)))
