from __future__ import annotations

from dataclasses import replace

import pytest

from edgetl.report.facts import facts_of
from edgetl.report.loss import loss_of
from edgetl.report.waterfall import message, section
from tests.report.helpers.made import waterfall


def test_the_pictures_and_the_table_tell_the_same_steps(whole) -> None:
    found = section(facts_of(whole))
    assert found is not None
    note, plots, fold = found.blocks
    assert note.text == (
        "Of 200 images, ov-int8 answers 4 differently from the reference; the step that changes "
        "the most is precision (5)."
    )
    flips, kl = plots.plots
    for words in ("export: 0", "precision: 5", "backend: 1", "the whole way: 4"):
        assert words in flips.svg
    assert "decode" not in flips.svg and "Not measured: decode, resize, device" in flips.caption
    assert "precision: 0.0040" in kl.svg
    steps, layers = fold.grids
    assert len(steps.rows) == 7 and len(layers.rows) == 3
    assert [cell.text for cell in steps.rows[3]][:5] == [
        "precision",
        "FP32 ONNX, as written",
        "INT8 ONNX, as written",
        "5",
        "2.50 %",
    ]
    assert steps.rows[0][0].text == "decode, not measured" and steps.rows[0][3].text == "–"
    assert layers.rows[0][2].text == "21.4" and layers.rows[1][3].text == "19.8"


def test_each_bar_begins_where_the_last_one_ended(whole) -> None:
    """The backend's one change stands right of the five of the precision."""
    import re

    found = section(facts_of(whole))
    assert found is not None
    svg = str(found.blocks[1].plots[0].svg)
    bars = [
        [float(x) for x in re.findall(r"[ML] ([\d.]+) ", path)]
        for path in re.findall(r'<path d="([^"]+)"[^>]*fill: var\(--(?:blue|ink)\)', svg)
        if path.count("L") == 3
    ]
    precision, backend, whole_way = (sorted({min(bar), max(bar)}) for bar in bars[-3:])
    assert backend[0] == pytest.approx(precision[1])
    assert backend[1] - backend[0] == pytest.approx((precision[1] - precision[0]) / 5, rel=1e-3)
    assert whole_way[0] == pytest.approx(precision[0])


def test_no_change_is_said(whole) -> None:
    still = waterfall()
    for step in (*still["steps"], still["total"]):
        step |= {"flips": 0, "flip_rate": 0.0, "mean_kl": 0.0}
    assert message(loss_of(still)).endswith("answers none differently from the reference.")
    assert section(facts_of(replace(whole, waterfalls=(still,)))) is not None


def test_every_variant_has_its_own(whole) -> None:
    both = (waterfall(), waterfall("ort-fp32"))
    found = section(facts_of(replace(whole, waterfalls=both)))
    assert found is not None and len(found.blocks) == 6
    titles = [plot.title for block in found.blocks[1::3] for plot in block.plots]
    assert len(set(titles)) == 4


def test_not_measured_leaves_the_section_out(whole) -> None:
    assert section(facts_of(replace(whole, waterfalls=()))) is None
