from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgetl.errors import ConfigError, UsageError
from edgetl.gate.toml_table import build
from edgetl.pipeline.config import ReleaseConfig, load_config
from edgetl.pipeline.graph import STAGES, key_inputs
from edgetl.pipeline.plan import Plan, StagePlan
from edgetl.pipeline.release import plan_release
from edgetl.pipeline.run_folder import RunFolder, stage_key


@pytest.fixture
def config(tiny_config: Path) -> ReleaseConfig:
    return load_config(tiny_config)


def changed(config: ReleaseConfig, section: str, **values: object) -> ReleaseConfig:
    table = config.to_table()
    table[section].update(values)
    return build(ReleaseConfig, table, "changed")


def by_name(plan: Plan) -> dict[str, StagePlan]:
    return {stage.name: stage for stage in plan.stages}


def states(plan: Plan) -> dict[str, str]:
    return {stage.name: stage.state for stage in plan.stages}


def everything_in(root: Path) -> set[tuple[Path, int]]:
    return {(path, path.stat().st_mtime_ns) for path in root.rglob("*")}


def test_a_new_release_runs_every_stage_and_writes_nothing(config, tmp_path: Path) -> None:
    plan = plan_release(config, out=tmp_path / "run")
    assert set(states(plan).values()) == {"new"}
    names = [stage.name for stage in STAGES]
    assert [stage.name for stage in plan.stages] == names[: names.index(plan.until) + 1]
    assert plan.problem is None
    assert list(tmp_path.iterdir()) == []


def test_a_finished_release_does_nothing_and_is_not_touched(
    config, tmp_path: Path, finished_run
) -> None:
    finished_run(config, tmp_path / "run")
    before = everything_in(tmp_path)
    plan = plan_release(config, out=tmp_path / "run")
    assert set(states(plan).values()) == {"done"}
    assert plan.seconds == 0.0 and plan.unknown == ()
    assert everything_in(tmp_path) == before


def test_a_change_is_named_and_what_follows_may_run(config, tmp_path: Path, finished_run) -> None:
    finished_run(config, tmp_path / "run")
    plan = plan_release(changed(config, "finetune", epochs=24), out=tmp_path / "run")
    stages = by_name(plan)
    assert stages["data"].state == "done"
    assert stages["finetune"].state == "again"
    assert stages["finetune"].why == "[finetune] epochs is 24, was 12"
    assert stages["calibrate"].state == "perhaps"
    assert stages["calibrate"].why == "if finetune gives another result"
    # Whatever its inputs become, the bundle's own section did not change.
    assert stages["bundle"].state == "perhaps"


def test_many_changes_are_counted(config, tmp_path: Path, finished_run) -> None:
    finished_run(config, tmp_path / "run")
    other = changed(
        config, "finetune", epochs=1, patience=1, batch_size=1, weight_decay=0.5, recipe="two-stage"
    )
    why = by_name(plan_release(other, out=tmp_path / "run"))["finetune"].why
    assert why.endswith("; and 2 more") and why.count(";") == 3


def test_a_stage_with_another_input_file_runs_again(config, tmp_path: Path, finished_run) -> None:
    folder = finished_run(config, tmp_path / "run")
    made = folder.stage("export")
    (made / "made").write_text("another model")
    plan = by_name(plan_release(config, out=tmp_path / "run"))
    assert plan["export"].why == "its files were changed or removed"
    record = folder.record("export")
    folder.write_record(made, key=record["key"], inputs=record["inputs"], seconds=1.0)
    plan = by_name(plan_release(config, out=tmp_path / "run"))
    assert plan["export"].state == "done"
    assert plan["quantize"].state == "again"
    assert plan["quantize"].why == "export gave another result"


def test_a_lost_stage_is_new_and_those_after_it_wait(config, tmp_path: Path, finished_run) -> None:
    finished_run(config, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "compile")
    plan = by_name(plan_release(config, out=tmp_path / "run"))
    assert plan["compile"].state == "new"
    assert plan["bench"].state == plan["gate"].state == "perhaps"


def test_a_stopped_stage_goes_on(config, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    key = stage_key(key_inputs(STAGES[0], config, folder))
    folder.scratch("data", key)
    why = by_name(plan_release(config, out=folder.root))["data"].why
    assert "goes on where it was stopped" in why


@pytest.mark.parametrize("verdict", ["FAIL", "INCONCLUSIVE"])
def test_a_bundle_is_not_made_without_a_pass(
    config, tmp_path: Path, finished_run, verdict: str
) -> None:
    finished_run(config, tmp_path / "run", verdict=verdict)
    stage = by_name(plan_release(config, out=tmp_path / "run"))["bundle"]
    assert (stage.state, stage.why) == ("not allowed", f"the verdict is {verdict}")


def test_the_plan_ends_where_it_is_told_to(config, tmp_path: Path) -> None:
    plan = plan_release(config, out=tmp_path / "run", until="export")
    assert list(states(plan)) == ["data", "finetune", "calibrate", "export"]
    with pytest.raises(ConfigError, match="stage"):
        plan_release(config, until="deploy")


def test_a_folder_of_something_else_is_a_problem_and_stays(config, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    plan = plan_release(config, out=tmp_path)
    assert isinstance(plan.problem, UsageError)
    assert not plan.to_json()["ready"]
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_planning_never_loads_torch(tiny_config: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from edgetl.pipeline.release import plan_release\n"
        f"plan_release(Path({str(tiny_config)!r}), out=Path({str(tmp_path / 'run')!r}))\n"
        "assert not {'torch', 'onnx', 'onnxruntime', 'openvino'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
