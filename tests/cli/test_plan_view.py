from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgetl.backends import registry
from edgetl.cli.main import main
from edgetl.pipeline.release import plan_release


def test_a_dry_run_says_what_would_happen_and_writes_nothing(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["release", str(tiny_config), "--out", str(out), "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "nothing is written" in shown.out and "will run" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 100 + len(str(out))
    assert list(tmp_path.iterdir()) == []


def test_what_init_left_to_check_is_said_again(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "a.toml"
    config.write_text("# CHECK the mean \u202e!\n" + tiny_config.read_text())
    arguments = ["release", str(config), "--out", str(tmp_path / "run"), "--dry-run"]
    main(arguments)
    assert "\ncheck    the mean  !\n" in capsys.readouterr().out
    config.write_text(tiny_config.read_text())
    main(arguments)
    assert "check    " not in capsys.readouterr().out


@pytest.mark.parametrize("command", ["finetune", "export", "bench", "gate", "bundle"])
def test_every_stages_command_plans_up_to_it(
    tiny_config: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [command, str(tiny_config), "--out", str(tmp_path / "run"), "--dry-run"]
    assert main([*arguments, "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "edgetl.plan/1"
    assert document["stages"][-1]["name"] == document["until"] == command
    assert document["ready"]
    assert list(tmp_path.iterdir()) == []


def test_the_json_of_a_plan_is_a_result_like_others(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "plan.json"
    arguments = ["release", str(tiny_config), "--out", str(tmp_path / "run"), "--dry-run"]
    assert main([*arguments, "--quiet", "--json", str(result)]) == 0
    assert capsys.readouterr() == ("", "")
    assert json.loads(result.read_bytes())["name"] == "tiny"
    assert main([*arguments, "--json", str(result)]) == 2
    assert "--force" in capsys.readouterr().err


def test_a_bad_config_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "a.toml"
    config.write_text("[data\n")
    assert main(["release", str(config), "--dry-run"]) == 2
    assert main(["release", str(tmp_path / "none.toml"), "--dry-run"]) == 2
    assert capsys.readouterr().out == ""


def test_missing_data_is_exit_2_after_the_plan(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "a.toml"
    config.write_text(tiny_config.read_text().replace("builtin:digits", "idx:nowhere"))
    assert main(["release", str(config), "--out", str(tmp_path / "run"), "--dry-run"]) == 2
    shown = capsys.readouterr()
    assert "NO  data" in shown.out and "nowhere" in shown.err


def test_a_missing_backend_is_exit_3_after_the_plan(
    tiny_config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = {"onnxruntime": True, "openvino": "not installed: pip install 'edgetl[openvino]'"}
    monkeypatch.setattr(registry, "available", lambda: state)
    assert main(["release", str(tiny_config), "--out", str(tmp_path / "r"), "--dry-run"]) == 3
    shown = capsys.readouterr()
    assert "NO  openvino" in shown.out
    assert "pip install 'edgetl[openvino]'" in shown.err


def test_stored_predictions_have_no_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "--predictions", "a.npz", "b.npz", "--dry-run"]) == 2
    assert "no stages to plan" in capsys.readouterr().err


def test_a_real_release_is_planned_as_done_and_its_times_serve_the_next(
    tiny_release, tmp_path: Path
) -> None:
    done = plan_release(tiny_release.config, out=tiny_release.folder)
    assert {stage.state for stage in done.stages} == {"done"}
    shutil.copytree(tiny_release.folder, tmp_path / "before")
    new = plan_release(tiny_release.config, out=tmp_path / "now")
    assert new.unknown == () and new.seconds > 0
