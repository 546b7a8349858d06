from __future__ import annotations

import numpy as np
import pytest

from edgetl.bench.cells import Cell
from edgetl.errors import GateError
from edgetl.gate import Policy, Predictions
from edgetl.gate.selection import Candidate, select


def _candidate(predictions, p50_ms, backend="fake", seconds=None):
    return Candidate(backend=backend, predictions=predictions, p50_ms=p50_ms, seconds=seconds)


def test_the_fastest_safe_candidate_of_each_backend_wins(make):
    chosen = select(
        {
            "a-fp32": _candidate(make(), 4.0, "a"),
            "a-int8": _candidate(make(wrong=range(2)), 1.0, "a"),
            "a-broken": _candidate(make(wrong=range(100)), 0.5, "a"),
            "b-fp32": _candidate(make(), 3.0, "b"),
        },
        make(),
        Policy(alpha=0.04),
    )
    assert dict(chosen.winners) == {"a": "a-int8", "b": "b-fp32"}
    assert chosen.alpha == 0.02
    entries = {entry.id: entry for entry in chosen.entries}
    assert not entries["a-broken"].eligible
    assert "top1_drop on val is 0.05" in entries["a-broken"].reason
    assert "slower: 4.00 ×" in entries["a-fp32"].reason
    assert [name for name, entry in entries.items() if entry.chosen] == ["a-int8", "b-fp32"]
    assert entries["a-int8"].harms["flips"] == pytest.approx(0.001)


@pytest.mark.parametrize(("wrong", "eligible"), [(10, True), (11, False)])
def test_half_of_the_limit_is_the_line(make, wrong, eligible):
    policy = Policy(max_nll_increase=9.0, max_brier_increase=9.0)
    chosen = select({"x": _candidate(make(wrong=range(wrong)), 1.0)}, make(), policy)
    assert chosen.entries[0].eligible is eligible
    assert ("fake" in chosen.winners) is eligible


@pytest.mark.parametrize(("sharper", "eligible"), [(1.0, True), (1.06, False)])
def test_a_harm_that_val_cannot_tell_from_nothing_bars_nobody(sharper, eligible):
    random = np.random.default_rng(2)
    labels = np.arange(240) % 10
    logits = 6 * np.eye(10)[labels] + random.normal(0, 1.3, (240, 10))
    noise = 0.0 if sharper > 1 else random.normal(0, 0.25, logits.shape)
    answers = [Predictions(labels=labels, logits=one) for one in (logits, sharper * logits + noise)]
    policy = Policy(max_confidence_gap=0.5, max_brier_increase=0.5)
    (entry,) = select({"x": _candidate(answers[1], 1.0)}, answers[0], policy).entries
    # One wrong answer of 240: noise moves the temperature as much as a real change does.
    assert entry.harms["log_temperature_ratio"] > 0.05
    assert entry.eligible is eligible


def test_a_tie_goes_to_the_smaller_nll_bound(make, make_pair):
    pair = make_pair(1.0)
    policy = Policy(max_nll_increase=9.0, max_brier_increase=9.0)
    fast = _candidate(make(wrong=range(10)), 1.0, seconds=pair.against_seconds)
    tied = _candidate(make(wrong=range(2)), 1.001, seconds=pair.seconds)
    slow = _candidate(make(), 1.5, seconds=pair.seconds * 1.5)
    chosen = select({"fast": fast, "tied": tied, "slow": slow}, make(), policy)
    assert chosen.winners["fake"] == "tied"
    reasons = {entry.id: entry.reason for entry in chosen.entries}
    assert "tied with the fastest" in reasons["tied"]
    assert "smaller NLL bound" in reasons["fast"]
    assert "slower" in reasons["slow"]
    blind = {"fast": _candidate(fast.predictions, 1.0), "tied": _candidate(tied.predictions, 1.001)}
    assert select(blind, make(), policy).winners["fake"] == "fast"


def test_slower_than_the_reference_drops_out(make):
    chosen = select({"x": _candidate(make(), 2.0)}, make(), Policy(), reference_p50_ms=1.0)
    assert not chosen.winners
    assert "p50 is 2" in chosen.entries[0].reason
    assert chosen.alpha == 0.05


def test_a_latency_that_is_nan_never_wins(make):
    candidates = {"x": _candidate(make(), float("nan"))}
    assert not select(candidates, make(), Policy(), reference_p50_ms=1.0).winners
    assert np.isfinite(select(candidates, make(), Policy()).alpha)


def test_a_backend_that_is_not_required_is_listed_and_never_wins(make):
    candidates = {
        "a": _candidate(make(), 2.0, "a"),
        "b": _candidate(make(), 1.0, "b"),
        "b-bad": _candidate(make(wrong=range(100)), 1.0, "b"),
    }
    chosen = select(candidates, make(), Policy(), required=("a",))
    assert dict(chosen.winners) == {"a": "a"}
    assert chosen.alpha == 0.05
    entries = {entry.id: entry for entry in chosen.entries}
    assert entries["b"].eligible and not entries["b"].chosen
    assert entries["b"].reason == "its backend is not required"
    assert "not required; top1_drop" in entries["b-bad"].reason


def test_what_was_measured_counts_whole(make, make_pair):
    pair = make_pair(1.0)
    cell = Cell(
        variant="x",
        batch=1,
        threads=2,
        p50_ms=1.0,
        p90_ms=1.1,
        p99_ms=1.2,
        throughput=1.0,
        size_mb=5.0,
        peak_rss_mb=50.0,
        rounds=24,
        calls=40,
        settled=True,
        samples="s.npz",
    )
    x = Candidate(backend="fake", predictions=make(), p50_ms=2.0, bench=pair, cell=cell)
    for policy, reason in (
        (Policy(max_size_mb=5.0, max_memory_mb=50.0, max_p99_ms=2.5, max_p90_ratio=1.1), ""),
        (Policy(max_size_mb=4.9), "size_mb is 5, the limit 4.9"),
        (Policy(max_memory_mb=49.0), "memory_mb is 50, the limit 49"),
        (Policy(max_p99_ms=1.5), "p99_ms is"),
        (Policy(max_p90_ratio=0.9), "p90_ratio is"),
    ):
        (entry,) = select({"x": x}, make(), policy).entries
        assert entry.eligible is (not reason)
        assert entry.reason.startswith(reason)
    with pytest.raises(GateError, match="max_size_mb"):
        blind = Candidate(backend="fake", predictions=make(), p50_ms=2.0, bench=pair)
        select({"x": blind}, make(), Policy(max_size_mb=5.0))


def test_classes_and_slices_compete_at_half_of_their_margin(make):
    night = {"camera": np.where(np.arange(2000) < 400, "night", "day")}
    policy = Policy(max_nll_increase=9.0, max_brier_increase=9.0, max_confidence_gap=0.5,
                    max_slice_drop=0.03, max_worst_class_drop=0.2)  # fmt: skip
    for wrong, reason in ((6, ""), (8, "slice:camera=night on val is 0.02, over half")):
        x = _candidate(make(wrong=range(wrong), slices=night), 1.0)
        (entry,) = select({"x": x}, make(slices=night), policy).entries
        assert entry.eligible is (not reason)
        assert entry.reason.startswith(reason)


def test_what_val_says_nothing_about_bars_nobody(make):
    (entry,) = select({"x": _candidate(make(wrong=[1]), 1.0)}, make(), Policy()).entries
    assert entry.eligible
    assert "log_temperature_ratio" not in entry.harms


def test_a_slice_that_val_does_not_have_is_said_before_test_is_opened(make):
    policy = Policy(max_slice_drop=0.03, slices=("camera",))
    with pytest.raises(GateError, match="camera"):
        select({"x": _candidate(make(), 1.0)}, make(), policy)
