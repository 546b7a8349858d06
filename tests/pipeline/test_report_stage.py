"""The page of a whole release holds what the stages left, and refuses what somebody exchanged."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgetl.errors import EdgetlError
from edgetl.pipeline.release import REPORT
from edgetl.pipeline.stages.report import WATERFALLS, run
from edgetl.pipeline.waterfall_run import default_variants, finished_run
from edgetl.report.loss import loss_of


def test_the_page_shows_every_stages_findings(tiny_release) -> None:
    page = (tiny_release.folder / "report" / REPORT).read_text(encoding="utf-8")
    for name in ("margins", "waterfall", "thresholds", "conformal", "changes", "latency"):
        assert f'<section id="{name}"' in page
    assert 'id="absent"' not in page
    assert len(page.encode()) < 3_000_000


def test_the_waterfalls_are_kept_beside_the_page(tiny_release) -> None:
    path = tiny_release.folder / "report" / WATERFALLS
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["schema"] == "edgetl.waterfalls/1"
    with finished_run(tiny_release.config, out=tiny_release.folder) as context:
        names = default_variants(context)
    found = [loss_of(one) for one in document["waterfalls"]]
    assert tuple(one.variant for one in found) == names
    assert all(one.n == 256 and len(one.steps) == 6 for one in found)


def test_a_config_may_leave_the_waterfall_out(tiny_release, tmp_path: Path) -> None:
    with finished_run(tiny_release.config, out=tiny_release.folder) as context:
        without = replace(context.config.report, waterfall_images=0, occlusion_seconds=0.0)
        config = replace(context.config, report=without)
        run(replace(context, config=config), tmp_path)
    assert json.loads((tmp_path / WATERFALLS).read_bytes())["waterfalls"] == []
    page = (tmp_path / REPORT).read_text(encoding="utf-8")
    assert 'id="waterfall"' not in page and 'id="thresholds"' in page


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("thresholds.json", b"{", "thresholds.json"),
        ("thresholds.json", b'{"schema": "edgetl.bench/1"}', "edgetl.thresholds/1"),
        ("conformal.json", b'{"schema": "edgetl.conformal/1"}', "edgetl.conformal/1"),
        ("conformal.json", b'{"schema": NaN}', "conformal.json"),
    ],
)
def test_an_exchanged_file_is_one_error_and_no_page(
    tiny_release, tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    copy, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(tiny_release.folder, copy)
    (copy / "gate" / name).write_bytes(data)
    out.mkdir()
    with (
        finished_run(tiny_release.config, out=copy) as context,
        pytest.raises(EdgetlError, match=said),
    ):
        run(context, out)
    assert not (out / REPORT).exists()
