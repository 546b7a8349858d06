from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgetl.metrics import flips as count_flips
from edgetl.report import Flip, render_report
from edgetl.report.facts import facts_of
from edgetl.report.flips import MAX_SHOWN, flips_of, in_order, kind_of, section
from tests.report.helpers.made import report


def flip(**changes) -> Flip:
    values = {
        "index": 0,
        "content_id": "ab" * 32,
        "label": "cat",
        "reference_class": "cat",
        "candidate_class": "dog",
        "reference_probability": 0.6,
        "candidate_probability": 0.7,
        "variant": "ov-int8",
        "negative": True,
    }
    return Flip(**(values | changes))


def test_the_flips_of_the_predictions_are_the_gates_own_number(whole) -> None:
    found = flips_of(facts_of(whole))
    test = whole.predictions["test"]
    expected = count_flips(test["reference"].probabilities, test["ov-int8"].probabilities)
    assert sum(one.variant == "ov-int8" for one in found) == expected > 3
    for one in found:
        answer = test[one.variant].probabilities[one.index]
        assert test["reference"].classes[answer.argmax()] == one.candidate_class
        assert one.candidate_probability == answer.max()
        assert one.negative == (one.reference_class == one.label)


def test_negative_flips_come_first_then_the_surest() -> None:
    given = [
        flip(index=0, negative=False, candidate_probability=0.99),
        flip(index=1, candidate_probability=0.5),
        flip(index=2, candidate_probability=0.9),
    ]
    assert [one.index for one in in_order(given)] == [2, 1, 0]
    assert in_order(given) == in_order(given[::-1])


def test_what_a_change_means() -> None:
    assert kind_of(flip()) == "right → wrong"
    better = flip(negative=False, label="dog")
    assert kind_of(better) == "wrong → right"
    assert kind_of(flip(negative=False, label="eel")) == "wrong → wrong"


def test_at_most_24_are_shown_and_the_number_is_said(whole) -> None:
    many = tuple(flip(index=index) for index in range(40))
    found = section(facts_of(replace(whole, flips=many)))
    assert found is not None
    note, grid = found.blocks
    assert "40 answers changed" in note.text and "The first 24 are shown" in note.text
    assert len(grid.rows) == MAX_SHOWN


def test_no_flips_are_said(whole) -> None:
    test = dict(whole.predictions["test"])
    test["ov-int8"] = test["ort-fp32"] = test["reference"]
    data = replace(whole, flips=(), predictions={"test": test})
    found = section(facts_of(data))
    assert found is not None and "No answer changed" in found.blocks[0].text


def test_pictures_become_cards_with_both_maps(page, whole) -> None:
    assert page.count('<article class="card flip">') == min(MAX_SHOWN, len(whole.flips))
    assert page.count("<div><img") == 3 * min(MAX_SHOWN, len(whole.flips))


def test_a_picture_that_cannot_be_read_leaves_its_card_without() -> None:
    broken = flip(picture=b"\x89PNG\r\n\x1a\nnothing")
    fine = np.zeros((4, 4), np.float32)
    page = render_report(report(flips=(broken, flip(picture=b"", reference_map=fine))))
    assert page.count('<article class="card flip">') == 2 and "<div><img" not in page
