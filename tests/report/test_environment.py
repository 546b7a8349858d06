from __future__ import annotations

from dataclasses import replace

from edgetl.report import ReportData
from edgetl.report.environment import section
from edgetl.report.facts import facts_of


def test_it_says_machine_execution_openings_hashes_and_config(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    blocks = {block.title: block for block in found.blocks}
    assert ("cores", "2") in blocks["Machine"].pairs
    assert ("numpy", "2") in blocks["Packages"].pairs
    assert blocks["What was executed"].rows[0][-1].text == "1 u8, 1 f32"
    assert "The test split was opened 1 time" in blocks
    assert blocks["Hashes"].rows[0][1].text == whole.verdict["data"]["hash"]
    assert '"seed": 0' in blocks["The config, with every default written in"].text


def test_with_hashes_alone_nothing_is_said_of_machines(whole) -> None:
    found = section(facts_of(ReportData(verdict=whole.verdict)))
    assert found is not None and [block.title for block in found.blocks] == ["Hashes"]
    assert found.title == "What was judged" and "Latencies" not in found.read


def test_the_machine_given_goes_before_the_benchs(whole) -> None:
    found = section(facts_of(replace(whole, machine={"cpu": "other", "oddity": [1, 2]})))
    assert found is not None
    assert found.blocks[0].pairs == (("CPU", "other"), ("oddity", "1, 2"))
