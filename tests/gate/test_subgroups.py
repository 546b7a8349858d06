from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from edgetl.errors import GateError
from edgetl.gate import Policy, Predictions, judge
from edgetl.gate.align import align
from edgetl.gate.subgroups import slice_drops, worst_class
from edgetl.stats import structural_minimum, tango, tango_sample_size
from edgetl.stats.paired import score_parts

NAMES = tuple("abcdefghij")


def _gate(reference, candidate, **policy):
    return judge(reference, candidate, Policy(**policy)).gate("worst_class")


def test_a_drop_hidden_in_one_class_is_found_and_named(make):
    # 40 of the 200 images of class d: two points of the whole, twenty of the class.
    lost = list(range(3, 403, 10))
    verdict = judge(
        make(classes=NAMES),
        make(wrong=lost, classes=NAMES),
        Policy(max_accuracy_drop=0.05, max_worst_class_drop=0.05),
    )
    assert verdict.gate("top1_drop").verdict == "PASS"
    gate = verdict.gate("worst_class")
    assert (gate.verdict, gate.n) == ("FAIL", 2000)
    assert gate.estimate == pytest.approx(0.2)
    assert gate.detail == "shown for the class 'd'"


def test_every_class_has_to_pass_each_at_alpha_and_harm_is_shown_at_its_share(make):
    lost = [0, 10, 20, 1, 2, 12]
    gate = _gate(make(), make(wrong=lost), max_worst_class_drop=0.05)
    counts = [3, 1, 2, *[0] * 7]
    assert gate.upper == pytest.approx(max(-tango(0, c, 200, confidence=0.9)[0] for c in counts))
    assert gate.lower == pytest.approx(max(-tango(0, c, 200, confidence=0.99)[1] for c in counts))
    assert gate.estimate == pytest.approx(3 / 200)
    assert gate.verdict == "PASS"


def test_without_a_change_too_small_a_class_is_open_and_says_how_many_it_takes(make):
    gate = _gate(make(450), make(450), max_worst_class_drop=0.05)
    fewest = structural_minimum(0.05)
    assert gate.verdict == "INCONCLUSIVE"
    assert f"45 images, under the {fewest} that this limit takes" in gate.detail
    assert gate.more_samples == fewest * 10 - 450
    # verdict.md: 45 images of a class cannot show less than 5.7 points.
    assert gate.upper == pytest.approx(0.0567, abs=1e-4)


def test_the_hungriest_class_sets_the_further_images():
    labels = np.repeat(np.arange(3), [1000, 1000, 60])
    right = np.where(np.eye(3)[labels] > 0, 0.8, 0.1)
    reference = Predictions(labels=labels, probabilities=right)
    gate = _gate(reference, reference, max_worst_class_drop=0.03)
    share = 60 / 2060
    assert gate.more_samples == int(np.ceil(structural_minimum(0.03) / share)) - 2060


def test_a_class_over_its_limit_is_planned_to_be_shown(make):
    gate = _gate(make(500), make(500, wrong=[0, 10, 20, 30]), max_worst_class_drop=0.07)
    assert gate.verdict == "INCONCLUSIVE"
    # One of ten classes, in one of seven gates that share alpha.
    total = tango_sample_size(-0.08, 0.08, 0.07, alpha=0.05 / 7 / 10)
    assert gate.more_samples == total * 10 - 500


def test_a_class_without_an_image_is_open(make):
    labels = np.arange(2000) % 9
    right = np.where(np.eye(10)[labels] > 0, 0.91, 0.01)
    reference = Predictions(labels=labels, probabilities=right, classes=NAMES)
    gate = _gate(reference, reference, max_worst_class_drop=0.05)
    assert (gate.verdict, gate.upper) == ("INCONCLUSIVE", 1.0)
    assert "'j' has the greatest bound: 0 images" in gate.detail
    assert gate.more_samples == structural_minimum(0.05)


@pytest.mark.parametrize("seed", range(5))
def test_the_classes_named_are_those_of_holm(make, seed):
    random = np.random.default_rng(seed)
    lost = [int(index) for index in np.nonzero(random.random(2000) < 0.07)[0]]
    lost += list(range(seed % 10, 600, 10))
    data = align(make(), make(wrong=sorted(set(lost))))
    harm = worst_class(data, 0.05)
    counts = np.bincount(np.array(sorted(set(lost))) % 10, minlength=10)
    # The bound at level a is over the limit where the score at the limit is rarer than a.
    above, error = score_parts(np.zeros(10), counts, 200, -0.05)
    p_values = norm.cdf(above / error)
    rejected = multipletests(p_values, alpha=0.05, method="holm")[0]
    assert rejected.any()
    said = harm.remark(0.05, "FAIL").removeprefix("shown for the class ")
    named = said.split(" and ")[0].split(", ")
    assert named == [repr(str(index)) for index in np.nonzero(rejected)[0]][:3]


@pytest.fixture
def sliced(make):
    slices = {
        "camera": np.where(np.arange(2000) < 400, "night", "day"),
        "age": np.arange(2000) % 3,
        "shot": np.arange(2000),
    }

    def sliced(**more):
        return make(classes=NAMES, slices=slices, **more)

    return sliced


def test_each_slice_is_a_gate_of_its_own(sliced):
    policy = Policy(max_accuracy_drop=0.1, max_slice_drop=0.04, slices=("camera",))
    verdict = judge(sliced(), sliced(wrong=range(40)), policy)
    gates = [gate for gate in verdict.gates if gate.name.startswith("slice:")]
    assert [gate.name for gate in gates] == ["slice:camera=day", "slice:camera=night"]
    assert [gate.verdict for gate in gates] == ["PASS", "FAIL"]
    assert [gate.n for gate in gates] == [1600, 400]
    low, high = tango(0, 40, 400, confidence=0.9)
    assert (gates[1].lower, gates[1].upper) == (-high, -low)
    assert gates[1].limit == 0.04


def test_one_value_and_a_class_can_be_named(sliced):
    policy = Policy(max_slice_drop=0.05, slices=("camera=night", "age", "class=c"))
    names = [harm.name for harm in slice_drops(align(sliced(), sliced()), policy)]
    assert names == [
        "slice:camera=night",
        "slice:age=0",
        "slice:age=1",
        "slice:age=2",
        "slice:class=c",
    ]


def test_without_names_every_column_is_judged(make):
    night = {"camera": np.array(["day", "night"] * 1000)}
    verdict = judge(make(slices=night), make(), Policy(max_slice_drop=0.05))
    assert verdict.gate("slice:camera=night").verdict == "PASS"


def test_slices_follow_the_order_of_the_inputs(make):
    reference, order = make(), np.random.default_rng(0).permutation(2000)
    night = np.arange(2000) < 400
    candidate = make(wrong=range(40))
    shuffled = Predictions(
        labels=candidate.labels[order],
        probabilities=candidate.probabilities[order],
        ids=[candidate.ids[row] for row in order],
        slices={"night": night[order]},
    )
    gate = judge(reference, shuffled, Policy(max_slice_drop=0.05)).gate("slice:night=True")
    assert (gate.n, gate.estimate) == (400, pytest.approx(0.1))


def test_further_images_of_a_slice_are_a_share_of_all(make):
    rare = {"rare": np.arange(2000) < 50}
    verdict = judge(
        make(slices=rare), make(slices=rare), Policy(max_slice_drop=0.05, slices=("rare=True",))
    )
    gate = verdict.gate("slice:rare=True")
    assert (gate.verdict, gate.more_samples) == ("INCONCLUSIVE", structural_minimum(0.05) - 50)
    assert verdict.more_samples == gate.more_samples * 40


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("camrea", "no slice column 'camrea'.*did you mean 'camera'"),
        ("lens", "no slice column 'lens'.*'camera'"),
        ("camera=nigth", "no image of it.*did you mean 'night'"),
        ("camera=", "no image of it.*'day', 'night'"),
        ("class=z", "no image of it"),
        ("class=cc", "did you mean 'c'"),
        ("shot", "2000 different values.*at most 100"),
    ],
)
def test_a_slice_that_is_not_there_is_refused(sliced, wanted, message):
    with pytest.raises(GateError, match=message) as caught:
        judge(sliced(), sliced(), Policy(max_slice_drop=0.05, slices=(wanted,)))
    assert caught.value.exit_code == 2


def test_predictions_without_a_column_cannot_be_judged_by_slice(make):
    with pytest.raises(GateError, match="no slice column in the predictions"):
        judge(make(), make(), Policy(max_slice_drop=0.05))


def test_slices_that_differ_are_refused(make):
    day, night = ({"camera": np.full(2000, name)} for name in ("day", "night"))
    with pytest.raises(GateError, match="other values of the slice column 'camera'"):
        judge(make(slices=day), make(slices=night), Policy())
