from __future__ import annotations

import pytest

from edgetl.gate import GateResult, JudgedData, JudgedVariant, Policy, ReleaseVerdict, Verdict


def _variant(backend: str, outcome: str) -> JudgedVariant:
    verdict = Verdict(verdict=outcome, gates=(), metrics={}, alpha=0.05, n=10)  # type: ignore[arg-type]
    return JudgedVariant(
        id=f"{backend}-{outcome}", backend=backend, precision="fp32", file="m", verdict=verdict
    )


@pytest.mark.parametrize(
    ("variants", "required", "outcome"),
    [
        (["a PASS"], [], "PASS"),
        (["a PASS", "b PASS"], ["a", "b"], "PASS"),
        (["a PASS", "b FAIL"], ["a", "b"], "FAIL"),
        (["a PASS", "b FAIL"], ["a"], "PASS"),
        (["a FAIL", "a PASS"], ["a"], "PASS"),
        (["a PASS", "b INCONCLUSIVE"], [], "INCONCLUSIVE"),
        (["a INCONCLUSIVE", "b FAIL"], [], "FAIL"),
        (["a PASS"], ["a", "b"], "FAIL"),
        ([], [], "INCONCLUSIVE"),
    ],
)
def test_a_release_is_its_worst_required_backend(variants, required, outcome):
    release = ReleaseVerdict(
        policy=Policy(),
        data=JudgedData(name="made", split="test", n=10, hash="0" * 64),
        variants=tuple(_variant(*text.split()) for text in variants),
        required=tuple(required),
    )
    assert release.verdict == outcome


def _gate(name: str, more: int | None) -> GateResult:
    return GateResult(
        name=name,
        estimate=0.0,
        lower=0.0,
        upper=1.0,
        limit=0.5,
        n=10,
        verdict="INCONCLUSIVE",
        more_samples=more,
    )


@pytest.mark.parametrize(
    ("gates", "more"),
    [
        ([("nll", 5), ("flips", 7)], 7),
        ([("nll", 5), ("latency", 70)], 5),
        ([("nll", 5), ("flips", None)], None),
        ([], 0),
    ],
)
def test_further_images_are_those_of_the_hungriest_gate(gates, more):
    verdict = Verdict(
        verdict="INCONCLUSIVE",
        gates=tuple(_gate(*gate) for gate in gates),
        metrics={},
        alpha=0.05,
        n=10,
    )
    assert verdict.more_samples == more


def test_an_unknown_gate_is_a_key_error():
    with pytest.raises(KeyError):
        Verdict(verdict="PASS", gates=(), metrics={}, alpha=0.05, n=1).gate("speed")
