from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from edgetl.backends import registry
from edgetl.errors import DataError, MissingExtraError, UnavailableError, UsageError
from edgetl.gate.toml_table import build
from edgetl.pipeline import readiness as room
from edgetl.pipeline.config import ReleaseConfig, load_config
from edgetl.pipeline.events import Event
from edgetl.pipeline.readiness import Check, readiness
from edgetl.pipeline.release import release
from edgetl.pipeline.run_folder import RunFolder

STAGES = ("finetune", "export", "report")


@pytest.fixture
def config(tiny_config: Path) -> ReleaseConfig:
    return load_config(tiny_config)


def changed(config: ReleaseConfig, section: str, **values: object) -> ReleaseConfig:
    table = config.to_table()
    table[section].update(values)
    return build(ReleaseConfig, table, "changed")


def look(config: ReleaseConfig, root: Path) -> dict[str, Check]:
    return {check.what: check for check in readiness(config, RunFolder(root), STAGES)}


def test_all_is_well(config, tmp_path: Path) -> None:
    checks = look(config, tmp_path / "run")
    assert [check.what for check in checks.values() if check.error] == []
    assert {"config", "data", "onnxruntime", "openvino", "packages", "folder"} <= set(checks)
    assert list(tmp_path.iterdir()) == []


def test_data_that_is_not_there(config, tmp_path: Path) -> None:
    missing = changed(config, "data", source=f"idx:{tmp_path / 'none'}")
    error = look(missing, tmp_path / "run")["data"].error
    assert isinstance(error, DataError) and error.exit_code == 2
    assert str(tmp_path / "none") in error.got


def test_the_plan_says_how_many_shots_it_trains_on(config, tmp_path: Path) -> None:
    assert "of each class" not in look(config, tmp_path / "run")["data"].detail
    few = changed(config, "data", train=None, per_class=3)
    assert "trains on 3 images of each class" in look(few, tmp_path / "run")["data"].detail


def test_a_backend_that_is_not_installed_is_asked_for_by_candidates_only(
    config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"onnxruntime": True, "openvino": "not installed: pip install 'edgetl[openvino]'"}
    monkeypatch.setattr(registry, "available", lambda: state)
    error = look(config, tmp_path / "run")["openvino"].error
    assert isinstance(error, UnavailableError) and error.exit_code == 3
    assert error.fix == "pip install 'edgetl[openvino]'"
    only = changed(config, "compile", variants=["ort-fp32"])
    assert "openvino" not in look(only, tmp_path / "run")


def test_a_package_that_is_not_installed_is_named_with_its_extra(
    config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        room, "find_spec", lambda name: None if name == "onnxscript" else find_spec(name)
    )
    error = look(config, tmp_path / "run")["packages"].error
    assert isinstance(error, MissingExtraError)
    assert "onnxscript" in error.got and "edgetl[export]" in error.fix
    checks = readiness(config, RunFolder(tmp_path / "run"), ("data", "finetune"))
    assert all(check.error is None for check in checks)


def test_cuda_is_asked_for_in_a_process_of_its_own(
    config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "cuda" not in look(config, tmp_path / "run")
    asked = changed(config, "finetune", device="cuda")
    monkeypatch.setattr(room, "_CUDA", "raise SystemExit(1)")
    assert isinstance(look(asked, tmp_path / "run")["cuda"].error, UnavailableError)
    monkeypatch.setattr(room, "_CUDA", "raise SystemExit(0)")
    assert look(asked, tmp_path / "run")["cuda"].error is None


def test_openvinos_device_is_asked_for_by_its_name(config, tmp_path: Path) -> None:
    asked = changed(config, "compile", openvino_device="GPU.7")
    error = look(asked, tmp_path / "run")["GPU.7"].error
    assert isinstance(error, UnavailableError) and "CPU" in error.got
    auto = changed(config, "compile", openvino_device="AUTO")
    assert look(auto, tmp_path / "run")["AUTO"].error is None


def test_a_place_that_is_a_file_is_refused(config, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        assert isinstance(look(config, place)["folder"].error, UsageError), place


@pytest.mark.parametrize("source", ["builtin:digit", "foldr:photos", "photos", ""])
def test_a_source_that_is_none_is_refused_with_the_nearest(
    config, tmp_path: Path, source: str
) -> None:
    error = look(changed(config, "data", source=source), tmp_path / "run")["data"].error
    assert isinstance(error, DataError) and error.got == "an unknown source"


def test_a_device_that_is_absent_ends_a_release_before_its_first_stage(
    tiny_config: Path, tmp_path: Path
) -> None:
    text = tiny_config.read_text() + '[compile]\nopenvino_device = "NPU"\n'
    config = tmp_path / "npu.toml"
    config.write_text(text)
    events: list[Event] = []
    with pytest.raises(UnavailableError, match="NPU"):
        release(config, out=tmp_path / "run", listen=events.append)
    assert events == [] and not (tmp_path / "run").exists()
