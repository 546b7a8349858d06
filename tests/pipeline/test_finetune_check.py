from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgetl.errors import ConfigError
from edgetl.pipeline import finetune_check
from edgetl.pipeline.config import load_config
from edgetl.pipeline.events import ignore
from edgetl.pipeline.finetune_check import checked
from edgetl.pipeline.release import plan_release
from edgetl.pipeline.run_folder import RunFolder

SCRATCH = {"top1": 0.5, "nll": 0.7, "ece": 0.1}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Which baselines were made, in place of making them."""
    made: list[tuple[str, ...]] = []

    def make(_function: object, *arguments: Any, **_options: object) -> dict[str, Any]:
        baselines = arguments[2]
        made.append(baselines)
        source = SCRATCH if "source-model" in baselines else None
        return {"from_scratch": SCRATCH, "source_model": source, "missing": {}}

    monkeypatch.setattr(finetune_check, "in_own_process", make)
    return made


def test_a_check_joins_the_stage_which_stays_current(
    tiny_config: Path,
    tmp_path: Path,
    finished_run: Callable[..., RunFolder],
    asked: list[tuple[str, ...]],
) -> None:
    folder = finished_run(load_config(tiny_config), tmp_path / "run")
    before = folder.outputs("finetune")
    document = checked(tiny_config, folder, ("from-scratch",), listen=ignore)
    assert document["from_scratch"] == SCRATCH
    assert folder.outputs("finetune").keys() - before.keys() == {"transfer.json"}
    states = {one.name: one.state for one in plan_release(tiny_config, out=folder.root).stages}
    assert states["finetune"] == "done"
    assert (folder.record("finetune") or {})["seconds"] == 10.0


def test_a_baseline_is_made_once(
    tiny_config: Path,
    tmp_path: Path,
    finished_run: Callable[..., RunFolder],
    asked: list[tuple[str, ...]],
) -> None:
    folder = finished_run(load_config(tiny_config), tmp_path / "run")
    for baselines in (("from-scratch",), ("from-scratch",), ("from-scratch", "source-model")):
        checked(tiny_config, folder, baselines, listen=ignore)  # type: ignore[arg-type]
    assert asked == [("from-scratch",), ("from-scratch", "source-model")]


def test_a_classifier_that_was_trained_elsewhere_has_no_baseline(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(load_config(tiny_config), finetune=None)
    monkeypatch.setattr(finetune_check, "load_config", lambda _path: config)
    with pytest.raises(ConfigError, match="trained elsewhere"):
        checked(tiny_config, RunFolder(tmp_path / "run"), ("from-scratch",), listen=ignore)
