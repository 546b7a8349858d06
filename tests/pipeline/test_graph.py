from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from edgetl.errors import UsageError
from edgetl.gate.toml_table import build
from edgetl.pipeline.config import ReleaseConfig, load_config
from edgetl.pipeline.graph import COMMANDS, STAGES, current_key
from edgetl.pipeline.run_folder import RunFolder

KEYS = dict[str, str]


def finished(config: ReleaseConfig, root: Path) -> RunFolder:
    """A run whose stages each made one file."""
    folder = RunFolder(root)
    for stage in STAGES:
        made = folder.stage(stage.name)
        made.mkdir(parents=True)
        (made / "made").write_text(stage.name)
        folder.write_record(made, key="k", inputs={}, seconds=0.0)
    return folder


def keys(config: ReleaseConfig, folder: RunFolder) -> KEYS:
    return {stage.name: current_key(stage, config, folder) for stage in STAGES}


def changed(config: ReleaseConfig, section: str, **values: object) -> ReleaseConfig:
    table = config.to_table()
    part = table
    for name in section.split("."):
        part = part[name]
    part.update(values)
    return build(ReleaseConfig, table, "changed")


@pytest.mark.parametrize(
    ("section", "values", "first"),
    [
        ("data", {"seed": 1}, {"data"}),
        ("finetune", {"epochs": 11}, {"finetune"}),
        ("export", {"opset": 21}, {"export"}),
        ("quantize", {"ptq_samples": 10}, {"quantize"}),
        ("compile", {"variants": ["ort-fp32"]}, {"quantize", "compile", "gate"}),
        ("bench", {"calls": 10}, {"bench"}),
        ("gate.policy", {"max_flip_rate": 0.01}, {"gate"}),
        ("bundle", {"golden": "none"}, {"bundle"}),
    ],
)
def test_a_change_reaches_the_stages_that_read_it_and_no_others(
    tiny_config: Path, tmp_path: Path, section: str, values: dict[str, object], first: set[str]
) -> None:
    config = load_config(tiny_config)
    folder = finished(config, tmp_path)
    before, after = keys(config, folder), keys(changed(config, section, **values), folder)
    assert {name for name in before if before[name] != after[name]} >= first
    untouched = {"data", "finetune", "calibrate", "export"} - first
    if section not in ("data", "finetune", "export"):
        assert all(before[name] == after[name] for name in untouched)


def test_a_stage_depends_on_what_the_ones_before_it_made(tiny_config: Path, tmp_path: Path) -> None:
    config = load_config(tiny_config)
    folder = finished(config, tmp_path)
    before = keys(config, folder)
    made = folder.stage("export")
    (made / "made").write_text("another model")
    folder.write_record(made, key="k", inputs={}, seconds=0.0)
    after = keys(config, folder)
    needing = {stage.name for stage in STAGES if "export" in stage.needs}
    assert {name for name in before if before[name] != after[name]} == needing


def test_the_datas_own_files_are_part_of_the_key(tiny_config: Path, tmp_path: Path) -> None:
    source = tmp_path / "idx"
    source.mkdir()
    config = changed(load_config(tiny_config), "data", source=f"idx:{source}")
    folder = finished(config, tmp_path / "run")
    (source / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(np.arange(9).tobytes()))
    before = keys(config, folder)["data"]
    (source / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(np.arange(8).tobytes()))
    assert keys(config, folder)["data"] != before


def test_a_stage_before_those_it_needs_names_the_command(tiny_config: Path, tmp_path: Path) -> None:
    config = load_config(tiny_config)
    export = next(stage for stage in STAGES if stage.name == "export")
    with pytest.raises(UsageError, match="edgetl"):
        current_key(export, config, RunFolder(tmp_path))


def test_stages_come_after_the_stages_they_need() -> None:
    seen: set[str] = set()
    for stage in STAGES:
        assert set(stage.needs) <= seen
        seen.add(stage.name)
    assert set(COMMANDS) == seen - {"data"}


RUNS_NETWORK = {"finetune", "calibrate", "export", "bench", "gate", "bundle", "report"}


def _own(tiny_config: Path, tmp_path: Path, **model: str) -> ReleaseConfig:
    """A trained network of the user's own: net.py, which imports layers.py."""
    (tmp_path / "net.py").write_text("import layers\ndef make(): ...\n")
    (tmp_path / "layers.py").write_text("WIDTH = 1\n")
    (tmp_path / "prepare.py").write_text("def transform(picture): ...\n")
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    table = load_config(tiny_config).to_table() | {"finetune": None, "code": str(tmp_path)}
    table["model"] = {
        "architecture": "python:net:make",
        "weights": str(tmp_path / "w.safetensors"),
        "transform": "python:prepare:transform",
    } | model
    return build(ReleaseConfig, table, "own")


def _changed_by(config: ReleaseConfig, folder: RunFolder, file: Path, text: str) -> set[str]:
    before = keys(config, folder)
    file.write_text(text)
    after = keys(config, folder)
    return {name for name in before if before[name] != after[name]}


def test_the_users_code_is_part_of_every_stage_that_runs_the_network(
    tiny_config: Path, tmp_path: Path
) -> None:
    config = _own(tiny_config, tmp_path)
    folder = finished(config, tmp_path / "run")
    assert keys(config, folder) == keys(config, folder)
    # Another forward with the same weights is another network.
    assert _changed_by(config, folder, tmp_path / "net.py", "import layers\n") == RUNS_NETWORK
    assert _changed_by(config, folder, tmp_path / "layers.py", "WIDTH = 2\n") == RUNS_NETWORK
    assert _changed_by(config, folder, tmp_path / "prepare.py", "\n") == {"export", "report"}
    assert _changed_by(config, folder, tmp_path / "w.safetensors", "others") == {"finetune"}
    (tmp_path / "unrelated.py").write_text("")
    assert _changed_by(config, folder, tmp_path / "unrelated.py", "x = 1\n") == set()


def test_another_transform_of_the_same_module_is_another_waterfall(
    tiny_config: Path, tmp_path: Path
) -> None:
    config = _own(tiny_config, tmp_path)
    folder = finished(config, tmp_path / "run")
    before = keys(config, folder)
    # The export is made anew, and may say the same of both: one only decodes otherwise.
    after = keys(changed(config, "model", transform="python:prepare:other"), folder)
    different = {name for name in before if before[name] != after[name]}
    assert different == {"finetune", "export", "report"}


def test_a_factory_that_brings_weights_is_asked_each_time(
    tiny_config: Path, tmp_path: Path
) -> None:
    config = _own(tiny_config, tmp_path, weights="factory")
    folder = finished(config, tmp_path / "run")
    assert _changed_by(config, folder, tmp_path / "other", "") == {"finetune"}
