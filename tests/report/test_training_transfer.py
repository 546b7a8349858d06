from __future__ import annotations

from dataclasses import replace

import pytest

from edgetl.errors import GateError
from edgetl.report.facts import facts_of
from edgetl.report.training_transfer import section


def test_the_sentence_the_starts_and_the_gap(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    note, starts, gap = found.blocks
    assert "9.0 points better" in note.text and note.tone == ""
    names = ["this classifier", "from scratch", "the source model"]
    assert [row[0].text for row in starts.rows] == names
    assert starts.rows[1][1].text == "81.00 %"
    assert [row[4].text for row in starts.rows] == ["–", "−9.0 [−12.0, −6.0]", "–"]
    assert dict(gap.pairs) == {"mmd": "0.1200", "domain accuracy": "0.9300"}


def test_negative_transfer_is_a_warning(whole) -> None:
    check = {**whole.transfer_check, "negative": True, "from_scratch": None, "gap": None}
    found = section(facts_of(replace(whole, transfer_check=check)))
    assert found is not None and found.blocks[0].tone == "unsure"
    assert len(found.blocks) == 2


def test_an_empty_document_is_no_section_and_another_schema_is_refused(whole) -> None:
    empty = {"schema": "edgetl.transfer-check/1"}
    assert section(facts_of(replace(whole, transfer_check=empty))) is None
    assert section(facts_of(replace(whole, transfer_check=None))) is None
    with pytest.raises(GateError, match=r"edgetl\.thresholds/1"):
        replace(whole, transfer_check={"schema": "edgetl.thresholds/1"})
