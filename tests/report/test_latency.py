from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgetl.bench.compare import ratio
from edgetl.report.facts import facts_of
from edgetl.report.latency import section
from edgetl.report.numbers import significant, times


def test_the_figures_hold_the_medians_the_ratios_and_the_control(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    calls, ratios = found.blocks[0].plots
    p50 = 1e3 * np.median(whole.samples["ov-int8"])
    assert f"ov-int8 {significant(float(p50))} ms" in calls.svg
    speed = ratio(whole.samples["reference"], whole.samples["ov-int8"])
    assert f"ov-int8 {times(speed.estimate)}" in ratios.svg
    assert "control: PyTorch again" in ratios.svg and "Control: 90 % interval" in ratios.caption
    assert "8 rounds × 20 calls" in calls.scope and "batch 1, 2 threads" in calls.scope


def test_what_disturbed_the_machine_is_said(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    assert found.blocks[1].text == "While measuring: a busy hour."


def test_samples_alone_serve_and_none_give_no_section(whole) -> None:
    alone = section(facts_of(replace(whole, bench=None)))
    assert alone is not None and "No control was measured" in alone.blocks[0].plots[1].caption
    assert section(facts_of(replace(whole, samples={}))) is None
