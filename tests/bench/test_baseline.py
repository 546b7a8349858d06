from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from edgetl.bench.baseline import Comparison, compare_results
from edgetl.bench.measure import Samples
from edgetl.bench.result import BenchResult, Run, result_of
from edgetl.errors import GateError

MACHINE = {
    "cpu": "Made CPU",
    "architecture": "x86_64",
    "cores": 2,
    "cpu_features": ["avx2"],
    "memory_mb": 8000,
    "cgroup_quota_cores": None,
    "packages": {"numpy": "2.0"},
    "others_share": 0.1,
    "steal_share": 0.0,
    "warnings": [],
}


def _result(
    ratios: dict[str, float],
    *,
    seed: int,
    machine_factor: float = 1.0,
    spread: float = 0.02,
    rounds: int = 40,
    batch: int = 1,
    control: float | None = 1.0,
    reference_id: str | None = "r",
    **machine: object,
) -> BenchResult:
    random = np.random.default_rng(seed)

    def side(factor: float) -> np.ndarray:
        return 1e-3 * machine_factor * factor * np.exp(random.normal(0, spread, (rounds, 20)))

    sides = {"reference": side(1.0)} | {name: side(factor) for name, factor in ratios.items()}
    if control is not None:
        sides["control"] = side(control)
    samples = Samples(
        seconds=sides,
        settled=dict.fromkeys(sides, True),
        asked_rounds=rounds,
        asked_calls=20,
        elapsed_seconds=1.0,
    )
    run = Run(
        samples=samples, batch=batch, threads=2, control_of=None if control is None else "reference"
    )
    return result_of([run], machine=MACHINE | machine, reference_id=reference_id)


def test_a_machine_that_is_slower_today_changes_nothing():
    old = _result({"a": 0.5}, seed=1)
    new = _result({"a": 0.5}, seed=2, machine_factor=1.4)
    found = compare_results(old, new)
    assert (found.verdict, found.exit_code, found.method) == ("PASS", 0, "stored")
    one = found.compared[0]
    assert one.ratio.lower < 1.0 < one.ratio.upper
    assert one.new_p50_ms > 1.3 * one.old_p50_ms
    assert "different times" in found.notes[0]


@pytest.mark.parametrize(
    ("factor", "verdict", "code"), [(1.15, "FAIL", 1), (0.8, "PASS", 0), (1.05, "INCONCLUSIVE", 4)]
)
def test_a_verdict_on_new_over_old(factor, verdict, code):
    found = compare_results(_result({"a": 0.5}, seed=1), _result({"a": 0.5 * factor}, seed=2))
    assert (found.verdict, found.exit_code) == (verdict, code)
    assert found.compared[0].ratio.estimate == pytest.approx(factor, rel=0.02)


def test_one_slow_variant_is_enough_to_fail():
    old = _result({"a": 0.5, "b": 0.3}, seed=1)
    found = compare_results(old, _result({"a": 0.5, "b": 0.4}, seed=2))
    assert [one.outcome for one in found.compared] == ["PASS", "FAIL"]
    assert found.verdict == "FAIL"


def test_the_margin_is_asked_for():
    old, new = _result({"a": 0.5}, seed=1), _result({"a": 0.55}, seed=2)
    assert compare_results(old, new, margin=0.05).verdict == "FAIL"
    assert compare_results(old, new, margin=0.2).verdict == "PASS"


def test_the_interval_of_the_ratio_of_ratios_covers_as_often_as_it_says():
    hits = 0
    for seed in range(100):
        sides = [
            _result({"a": 0.5 * f}, seed=2 * seed + i, rounds=12) for i, f in ((0, 1), (1, 1.1))
        ]
        ratio = compare_results(*sides).compared[0].ratio
        hits += ratio.lower <= 1.1 <= ratio.upper
    assert hits >= 80  # binomial(100, 0.9), 0.1 %


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cpu": "Another CPU"}, "machines"),
        ({"cores": 4}, "machines"),
        ({"cpu_features": []}, "machines"),
        ({"reference_id": "s"}, "two different ones"),
        ({"reference_id": None}, "not known"),
        ({"batch": 8}, "variants of the two results"),
    ],
)
def test_what_has_no_yardstick_in_common_is_refused(changes, words):
    old, new = _result({"a": 0.5}, seed=1), _result({"a": 0.5}, seed=2, **changes)
    with pytest.raises(GateError, match=words):
        compare_results(old, new)
    with pytest.raises(GateError, match=words):
        compare_results(new, old)


def test_no_variant_in_both_is_refused_and_others_are_named():
    old = _result({"a": 0.5}, seed=1)
    with pytest.raises(GateError, match="b at batch 1"):
        compare_results(old, _result({"b": 0.5}, seed=2))
    found = compare_results(old, _result({"a": 0.5, "b": 0.5}, seed=2))
    assert any("not compared: b at batch 1, 2 threads" in note for note in found.notes)


@pytest.mark.parametrize(
    "noise",
    [
        {"control": 1.2},
        {"others_share": 0.8},
        {"steal_share": 0.1},
        {"steal_share": "x"},
        {"control": None},
    ],
)
@pytest.mark.parametrize("factor", [0.8, 1.3])
def test_runs_of_a_noisy_machine_decide_nothing(noise, factor):
    calm, new = _result({"a": 0.5}, seed=1), _result({"a": 0.5 * factor}, seed=2, **noise)
    decided = {0.8: "PASS", 1.3: "FAIL"}[factor]
    quiet = noise == {"control": None}
    found = compare_results(calm, new)
    assert found.verdict == (decided if quiet else "INCONCLUSIVE")
    assert any("the new run's machine was noisy" in note for note in found.notes) != quiet


def test_new_packages_are_said():
    new = _result({"a": 0.5}, seed=2, packages={"numpy": "3.0"})
    found = compare_results(_result({"a": 0.5}, seed=1), new)
    assert "packages differ: numpy 2.0 -> 3.0" in found.notes
    assert found.verdict == "PASS"


@pytest.mark.parametrize("margin", [0.0, -0.1, float("nan"), float("inf")])
def test_a_margin_that_is_none_is_refused(margin):
    same = _result({"a": 0.5}, seed=1)
    with pytest.raises(GateError, match="margin"):
        compare_results(same, same, margin=margin)


def test_the_document_is_plain_json():
    found = compare_results(_result({"a": 0.5}, seed=1), _result({"a": 0.5}, seed=2))
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["schema"] == "edgetl.bench-comparison/1"
    assert document["compared"][0]["variant"] == "a"


def test_nothing_open_and_nothing_failed_is_a_pass():
    found = compare_results(_result({"a": 0.5}, seed=1), _result({"a": 0.5}, seed=2))
    open_one = dataclasses.replace(found.compared[0], outcome="INCONCLUSIVE")
    assert (
        Comparison(
            margin=0.05, method="stored", compared=(*found.compared, open_one), notes=()
        ).verdict
        == "INCONCLUSIVE"
    )


def test_two_rounds_that_differ_beyond_measure_bound_nothing():
    calm = _result({"a": 1.0}, seed=1, rounds=2)
    wild = _result({"a": 1.0}, seed=1, rounds=2, control=None)
    for times in wild.samples.values():
        times["a"][:] = [[1e-200], [1e200]]
    for old, new in ((calm, wild), (wild, calm), (wild, wild)):
        found = compare_results(old, new)
        assert found.verdict == "INCONCLUSIVE"
        ratio = found.compared[0].ratio
        assert 0 < ratio.lower < ratio.estimate < ratio.upper < np.inf
