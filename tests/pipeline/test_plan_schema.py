"""Plans of every state are what docs/schemas/plan-1.json says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgetl.gate.toml_table import build
from edgetl.pipeline.config import ReleaseConfig, load_config
from edgetl.pipeline.plan import Plan
from edgetl.pipeline.release import plan_release

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "plan-1.json"


@pytest.fixture
def config(tiny_config: Path) -> ReleaseConfig:
    return load_config(tiny_config)


def held(plan: Plan) -> dict[str, Any]:
    """The document as it is read back from a file, which fits the schema."""
    document: dict[str, Any] = json.loads(json.dumps(plan.to_json(), allow_nan=False))
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    return document


def states(document: dict[str, Any]) -> set[str]:
    return {stage["state"] for stage in document["stages"]}


def test_plans_of_every_state_fit(config, tmp_path: Path, finished_run) -> None:
    seen = states(held(plan_release(config, out=tmp_path / "new")))
    finished_run(config, tmp_path / "run")
    seen |= states(held(plan_release(config, out=tmp_path / "run")))
    table = config.to_table()
    table["finetune"]["epochs"] = 24
    other = build(ReleaseConfig, table, "other")
    seen |= states(held(plan_release(other, out=tmp_path / "run")))
    shutil.rmtree(tmp_path / "run")
    finished_run(config, tmp_path / "run", verdict="FAIL")
    seen |= states(held(plan_release(config, out=tmp_path / "run")))
    known = json.loads(SCHEMA.read_text())["properties"]["stages"]["items"]["properties"]["state"]
    assert seen == set(known["enum"])


def test_a_plan_that_cannot_run_fits(config, tmp_path: Path) -> None:
    table = config.to_table()
    table["data"]["source"] = "folder:absent"
    plan = plan_release(build(ReleaseConfig, table, "lost"), out=tmp_path / "run", until="export")
    document = held(plan)
    assert not document["ready"]
    assert any(check["fix"] for check in document["checks"])
