from __future__ import annotations

import numpy as np
import pytest

from edgetl.errors import GateError
from edgetl.gate import Policy, Predictions, judge
from edgetl.gate.align import align


def test_inputs_in_another_order_are_matched_by_id(make):
    reference, straight = make(50), make(50, wrong=[1, 2, 3])
    order = np.random.default_rng(0).permutation(50)
    shuffled = Predictions(
        labels=straight.labels[order],
        probabilities=straight.probabilities[order],
        ids=[straight.ids[row] for row in order],
    )
    aligned = align(reference, shuffled)
    assert np.array_equal(aligned.candidate, straight.probabilities)
    assert aligned.notes == ("the candidate's inputs were reordered by id",)


def test_classes_in_another_order_are_matched_by_name_and_said(make):
    names = [f"class {index}" for index in range(10)]
    reference, straight = make(400, classes=names), make(400, wrong=[5])
    order = np.random.default_rng(1).permutation(10)
    position = np.argsort(order)
    turned = Predictions(
        labels=position[straight.labels],
        probabilities=straight.probabilities[:, order],
        classes=[names[index] for index in order],
        ids=straight.ids,
    )
    verdict = judge(reference, turned, Policy())
    assert verdict.gate("flips").estimate == pytest.approx(1 / 400)
    assert verdict.notes == ("the candidate's classes were reordered by name",)


def test_labels_may_come_from_either_side_when_ids_match(make):
    assert np.array_equal(align(make(20, labels=None), make(20)).labels, make(20).labels)
    assert np.array_equal(align(make(20), make(20, labels=None)).labels, make(20).labels)


@pytest.mark.parametrize(
    ("reference", "candidate", "message"),
    [
        ({"n": 20}, {"n": 30}, "30 inputs"),
        ({"n": 20}, {"n": 20, "ids": [str(i) for i in range(20)]}, "on one side only"),
        ({"n": 20}, {"n": 20, "labels": np.zeros(20, int)}, "other labels"),
        ({"n": 20, "labels": None}, {"n": 20, "labels": None}, "no labels on either side"),
        ({"n": 20, "ids": None}, {"n": 20, "labels": None}, "no ids on both sides"),
        ({"n": 9}, {"n": 9}, "9 inputs for 10 classes"),
        (
            {"n": 20, "classes": list("abcdefghij")},
            {"n": 20, "classes": list("abcdefghik")},
            "class 'k'",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(make, reference, candidate, message):
    with pytest.raises(GateError, match=message):
        align(make(**reference), make(**candidate))


def test_another_number_of_classes_is_refused(make):
    other = Predictions(labels=np.zeros(20, int), probabilities=np.full((20, 4), 0.25))
    with pytest.raises(GateError, match="4 classes"):
        align(make(20), other)


def test_ids_that_repeat_cannot_be_reordered(make):
    twice = [*(str(index) for index in range(10)), "0", *(str(index) for index in range(11, 20))]
    with pytest.raises(GateError, match="several times"):
        align(make(20, ids=twice), make(20, ids=twice[::-1]))


def _with_copies(answers, copies, labels=None):
    rows = [*range(answers.n), *copies]
    return Predictions(
        labels=answers.labels[rows] if labels is None else labels,
        probabilities=answers.probabilities[rows],
        ids=[answers.ids[row] for row in rows],
    )


def test_a_copy_of_an_input_is_no_further_evidence(make):
    reference, candidate = make(400), make(400, wrong=[5])
    once = judge(reference, candidate, Policy())
    copies = list(range(6, 300))
    twice = judge(_with_copies(reference, copies), _with_copies(candidate, copies), Policy())
    assert twice.n == once.n == 400
    assert twice.gates == once.gates
    assert twice.notes == ("294 copies of inputs by id were left out",)


def test_an_input_with_two_labels_is_refused(make):
    answers = make(50)
    labels = np.append(answers.labels, (answers.labels[7] + 1) % 10)
    torn = _with_copies(answers, [7], labels)
    with pytest.raises(GateError, match="one input with two labels: rows 7 and 50"):
        align(torn, torn)
