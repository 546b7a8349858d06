from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetl.errors import GateError
from edgetl.gate import Policy, Predictions
from edgetl.gate.certificate import certify
from edgetl.stats import clopper_pearson


@functools.cache
def partitions(n: int) -> list[tuple[int, ...]]:
    """Every partition of n points, as the block of each point."""
    found = []
    for blocks in itertools.product(range(n), repeat=n):
        # A block is numbered when it is first used: each partition once.
        if all(block <= max(blocks[:at], default=-1) + 1 for at, block in enumerate(blocks)):
            found.append(blocks)
    return found


def distance(confidence: np.ndarray, right: np.ndarray) -> float:
    """The distance from calibration on n points of equal weight, by brute force.

    A function of the points is calibrated when its value on each of its level sets is the share
    of right answers there. So the calibrated functions are those made from the partitions, and
    the distance is the least mean |confidence − value| among them.
    """
    best = np.inf
    for blocks in partitions(len(right)):
        at = np.array(blocks)
        share = np.bincount(at, weights=right) / np.maximum(np.bincount(at), 1)
        best = min(best, float(np.abs(confidence - share[at]).mean()))
    return best


@st.composite
def two_classifiers(draw):
    n = draw(st.integers(2, 6))
    k = draw(st.integers(2, 4))
    weights = st.lists(st.floats(0.001, 1), min_size=k, max_size=k)
    sides = [np.array([draw(weights) for _ in range(n)]) for _ in range(2)]
    labels = np.array(draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n)))
    if draw(st.booleans()):  # a candidate that is nearly the reference
        sides[1] = sides[0] + 0.01 * sides[1]
    reference, candidate = (side / side.sum(axis=1, keepdims=True) for side in sides)
    return reference, candidate, labels


def test_the_oracle_knows_the_distance_of_simple_cases():
    half = np.array([0.5, 0.5])
    assert distance(half, np.array([0.0, 1.0])) == 0.0
    assert distance(np.array([0.9, 0.9]), np.array([0.0, 1.0])) == pytest.approx(0.4)
    # ECE would be 1/2 - 0.01 here: the distance does not jump.
    assert distance(np.array([0.49, 0.51]), np.array([0.0, 1.0])) == pytest.approx(0.01)
    assert len(partitions(5)) == 52  # Bell's number


@settings(max_examples=150, deadline=None)
@given(two_classifiers())
def test_what_is_certified_holds_on_every_sample(case):
    reference, candidate, labels = case
    right = [(side.argmax(axis=1) == labels).astype(float) for side in (reference, candidate)]
    confidence = [side.max(axis=1) for side in (reference, candidate)]
    ids = [str(index) for index in range(len(labels))]
    found = certify(
        Predictions(probabilities=reference, ids=ids),
        Predictions(probabilities=candidate, ids=ids),
        Policy(),
    )
    flips, moved = found.flips / found.n, found.confidence_change
    assert abs(right[1].mean() - right[0].mean()) <= flips + 1e-12
    gaps = [(sure - true).mean() for sure, true in zip(confidence, right, strict=True)]
    assert abs(gaps[1] - gaps[0]) <= moved + flips + 1e-12
    before, after = (distance(*side) for side in zip(confidence, right, strict=True))
    assert after <= before + moved + flips + 1e-9
    gates = {gate.name: gate for gate in found.gates}
    assert gates["calibration_distance"].estimate == pytest.approx(moved + flips)
    assert gates["calibration_distance"].upper >= after - before
    assert gates["accuracy_change"].estimate == flips


def test_the_constant_is_needed():
    """A flip to a wrong answer at the same confidence costs the whole of its share."""
    reference, candidate = np.array([1.0, 1.0]), np.array([1.0, 1.0])
    assert distance(reference, np.array([1.0, 1.0])) == 0.0
    assert distance(candidate, np.array([1.0, 0.0])) == pytest.approx(0.5)


def answers(n: int, flipped: int = 0, moved: float = 0.0) -> tuple[Predictions, Predictions]:
    ids = [f"{index:064x}" for index in range(n)]
    reference = np.tile([0.7, 0.2, 0.1], (n, 1))
    candidate = np.tile([0.7 - moved, 0.2 + moved, 0.1], (n, 1))
    candidate[:flipped] = [0.2, 0.7, 0.1]
    return tuple(Predictions(probabilities=side, ids=ids) for side in (reference, candidate))


def test_a_candidate_that_hardly_moves_passes():
    found = certify(*answers(3000, flipped=1, moved=0.001), Policy())
    assert found.verdict == "PASS" and found.exit_code == 0 and found.more_samples == 0
    gates = {gate.name: gate for gate in found.gates}
    assert gates["flips"].upper == clopper_pearson(1, 3000, confidence=0.9)[1]
    assert gates["flips"].upper == gates["accuracy_change"].upper < 0.01
    assert gates["calibration_distance"].upper < 0.01


def test_flips_shown_over_their_limit_fail():
    found = certify(*answers(1000, flipped=60), Policy())
    assert found.verdict == "FAIL" and found.exit_code == 1
    assert [gate.verdict for gate in found.gates] == ["FAIL", "INCONCLUSIVE", "INCONCLUSIVE"]


def test_what_cannot_be_shown_never_fails():
    """Answers that all agree, with confidences far off: no label says which of them is right."""
    found = certify(*answers(1000, moved=0.2), Policy())
    assert found.verdict == "INCONCLUSIVE"
    assert found.gates[2].lower == 0.0 and found.gates[2].more_samples is None
    assert found.more_samples is None


def test_inconclusive_says_how_many_more_and_these_decide():
    found = certify(*answers(100, moved=0.001), Policy())
    assert found.verdict == "INCONCLUSIVE" and found.exit_code == 4
    assert found.more_samples is not None and found.more_samples > 0
    more = 100 + found.more_samples
    assert certify(*answers(more, moved=0.001), Policy()).verdict == "PASS"


def test_alpha_is_shared_by_winners():
    whole = certify(*answers(1000, flipped=3), Policy())
    half = certify(*answers(1000, flipped=3), Policy(), alpha=0.025)
    assert half.alpha == 0.025
    for one, two in zip(whole.gates, half.gates, strict=True):
        assert two.upper > one.upper


def test_rows_are_matched_by_id_and_classes_by_name():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), 50)
    ids = [str(index) for index in range(50)]
    rows = random.permutation(50)
    reference = Predictions(probabilities=probabilities, ids=ids, classes=["a", "b", "c"])
    candidate = Predictions(
        probabilities=probabilities[rows][:, [2, 0, 1]],
        ids=[ids[row] for row in rows],
        classes=["c", "a", "b"],
    )
    found = certify(reference, candidate, Policy())
    assert found.flips == 0 and found.confidence_change == 0.0
    assert any("by name" in note for note in found.notes)
    assert any("by id" in note for note in found.notes)


def test_labels_are_said_not_to_count(make):
    wrong = certify(make(600), make(600, ids=None), Policy())
    assert wrong.notes == ("the labels were not looked at",)


@pytest.mark.parametrize(
    ("reference", "candidate", "said"),
    [
        ({"n": 3}, {"n": 4}, "4 inputs"),
        ({"ids": None}, {}, "ids"),
        ({"ids": ["a", "b", "c"]}, {"ids": ["a", "b", "x"]}, "one side only"),
        ({"k": 1}, {"k": 1}, "two classes"),
        ({"n": 1}, {"n": 1}, "1 inputs"),
        ({"k": 2}, {"k": 3}, "3 classes"),
        ({"classes": ["a", "b"]}, {"classes": ["a", "x"]}, "'x'"),
    ],
)
def test_what_does_not_fit_is_refused(reference, candidate, said):
    def build(n=3, k=2, **more):
        ids = [str(index) for index in range(n)]
        probabilities = np.full((n, k), 1 / k)
        return Predictions(**({"probabilities": probabilities, "ids": ids} | more))

    with pytest.raises(GateError) as caught:
        certify(build(**reference), build(**candidate), Policy())
    assert said in str(caught.value)
