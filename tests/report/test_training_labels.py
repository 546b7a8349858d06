from __future__ import annotations

from dataclasses import replace

import pytest

from edgetl.errors import GateError
from edgetl.report.facts import facts_of
from edgetl.report.training_labels import MAX_LABELS, section


def test_what_looks_wrong_is_listed_with_its_picture(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    note, grid = found.blocks
    assert note.text == "Of 900 labels 2 look wrong."
    assert [row[0].text for row in grid.rows] == ["cat/003.jpg", "cat/007.jpg"]
    picture, unreadable = (row[0].gauge for row in grid.rows)
    assert 'alt="cat/003.jpg, labelled cat"' in picture and "data:image/png" in picture
    assert unreadable is None
    assert grid.rows[0][3].text == "3.0 %"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"look_wrong": 0}, "Of 900 labels none looks wrong."),
        ({"look_wrong": None, "agreement": 0.31}, "repeat 31.00 %"),
        ({"judged": 0}, "too few images"),
    ],
)
def test_nothing_to_list_is_said(whole, change: dict[str, object], said: str) -> None:
    document = {**whole.suspicious, "images": [], **change}
    found = section(facts_of(replace(whole, suspicious=document)))
    assert found is not None and len(found.blocks) == 1 and said in found.blocks[0].text


def test_the_rest_of_many_is_counted(whole) -> None:
    (image, *_) = whole.suspicious["images"]
    document = {**whole.suspicious, "images": [image] * 30, "look_wrong": 35}
    found = section(facts_of(replace(whole, suspicious=document)))
    assert found is not None and len(found.blocks[1].rows) == MAX_LABELS
    assert found.blocks[1].caption == "15 more are in suspicious.json."


def test_hostile_names_are_text(whole) -> None:
    image = {**whole.suspicious["images"][0], "file": '"><script>\x1b', "label": "<b>"}
    document = {**whole.suspicious, "images": [image]}
    found = section(facts_of(replace(whole, suspicious=document)))
    assert found is not None
    gauge = str(found.blocks[1].rows[0][0].gauge)
    assert "<script>" not in gauge and "\x1b" not in gauge


def test_a_damaged_document_is_refused_and_none_is_no_section(whole) -> None:
    assert section(facts_of(replace(whole, suspicious=None))) is None
    with pytest.raises(GateError, match="images that is no list"):
        section(facts_of(replace(whole, suspicious={**whole.suspicious, "images": 3})))
    with pytest.raises(GateError, match="suspicious"):
        replace(whole, suspicious={"schema": "edgetl.thresholds/1"})
