from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgetl.errors import UsageError
from edgetl.pipeline.run_folder import RunFolder, stage_key


def finished(root: Path, key: str) -> RunFolder:
    folder = RunFolder(root)
    stage = folder.stage("export")
    stage.mkdir(parents=True)
    (stage / "model.onnx").write_bytes(b"model")
    folder.write_record(stage, key=key, inputs={"a": 1}, seconds=1.0)
    return folder


def test_a_finished_stage_is_current_under_its_key_only(tmp_path: Path) -> None:
    folder = finished(tmp_path, "k1")
    assert folder.is_current("export", "k1")
    assert not folder.is_current("export", "k2")
    assert not folder.is_current("quantize", "k1")


@pytest.mark.parametrize("damage", ["changed", "missing", "extra", "record", "empty record"])
def test_a_stage_whose_files_changed_is_not_current(tmp_path: Path, damage: str) -> None:
    folder = finished(tmp_path, "k1")
    model = folder.stage("export") / "model.onnx"
    if damage == "changed":
        model.write_bytes(b"Model")
    elif damage == "missing":
        model.unlink()
    elif damage == "extra":
        (model.parent / "more.bin").write_bytes(b"")
    else:
        (model.parent / "stage.json").write_text("{" if damage == "record" else "{}")
    assert not folder.is_current("export", "k1")


def test_outputs_of_a_stage_not_run_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="edgetl export CONFIG"):
        RunFolder(tmp_path).outputs("export")


def test_scratch_of_another_key_is_thrown_away(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    old = folder.scratch("finetune", "a" * 64)
    (old / "checkpoint").write_text("x")
    assert folder.scratch("finetune", "a" * 64) == old
    assert (old / "checkpoint").exists()
    new = folder.scratch("finetune", "b" * 64)
    assert not old.exists() and new.exists()
    folder.drop_scratch("finetune")
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_stage_are_removed_and_others_stay(tmp_path: Path) -> None:
    folder = finished(tmp_path, "k1")
    (tmp_path / ".export.abc").mkdir()
    (tmp_path / ".exports").mkdir()
    folder.clear_leftovers("export")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".exports", "export"]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from edgetl.pipeline.run_folder import RunFolder\n"
        "from edgetl.errors import UsageError\n"
        "try:\n"
        "    with RunFolder(Path(sys.argv[1])).locked('r'): print('got it')\n"
        "except UsageError as error: print(error.got)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    with RunFolder(tmp_path / "run").locked("r"):
        held = subprocess.run(command, capture_output=True, text=True, check=True)
    free = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "still running" in held.stdout
    assert free.stdout == "got it\n"


def test_the_key_depends_on_the_value_and_not_on_the_order_of_keys() -> None:
    assert stage_key({"a": 1, "b": [2]}) == stage_key({"b": [2], "a": 1})
    assert stage_key({"a": 1, "b": [2]}) != stage_key({"a": 1, "b": [3]})
