"""The finetune stage: terms from its tables, logs that outlive it, weights to go on from."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from edgetl.data.sources import open_dataset
from edgetl.data.splits import make_splits
from edgetl.data.store import save_splits
from edgetl.errors import CheckpointError
from edgetl.gate.toml_table import build
from edgetl.pipeline.config import ReleaseConfig, load_config
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.events import Event, Reporter
from edgetl.pipeline.run_folder import RunFolder
from edgetl.pipeline.stages import finetune as stage
from edgetl.train.run import Run
from edgetl.train.trouble import diverged

CONFIG: dict[str, Any] = {
    "schema": "edgetl.config/1",
    "name": "tiny",
    "version": "1.0.0",
    "threads": 1,
    "data": {"source": "builtin:digits", "train": 60, "val": 40, "calib": 40, "test": 720},
    "input": {"kind": "tensor", "shape": [8, 8]},
    "finetune": {
        "architecture": "mlp:16",
        "weights": "none",
        "recipe": "full",
        "epochs": 2,
        "learning_rate": 0.003,
        "device": "cpu",
    },
}


def _context(root: Path, **finetune: Any) -> tuple[StageContext, list[Event]]:
    table = {**CONFIG, "finetune": {**CONFIG["finetune"], **finetune}}
    config = build(ReleaseConfig, table, "config")
    folder = RunFolder(root)
    dataset = open_dataset(config.data.source)
    splits = make_splits(dataset, train=60, val=40, calib=40, test=720, seed=0)
    save_splits(folder.stage("data"), dataset, splits)
    heard: list[Event] = []
    scratch = folder.scratch("finetune", "0123456789abcdef")
    reporter = Reporter("finetune", heard.append)
    return StageContext(config=config, folder=folder, reporter=reporter, scratch=scratch), heard


def test_the_tables_terms_are_trained_and_the_logs_outlive_the_stage(tmp_path: Path) -> None:
    context, heard = _context(tmp_path, l2_sp={"weight": 0.1})
    (out := tmp_path / "out").mkdir()
    stage.run(context, out)
    history = json.loads((out / "history.json").read_text())
    assert all(epoch["terms"]["l2-sp"] >= 0 for epoch in history["epochs"])
    assert (out / "suspicious.json").is_file()
    assert any(event.text.startswith("kept epoch") for event in heard if event.kind == "note")
    # Logs hold times: they are no part of what the stage's hashes are taken of.
    assert not list(out.rglob("events*"))
    context.folder.drop_scratch("finetune")
    (log,) = tmp_path.glob("logs/tensorboard/finetune-01234567/events*")
    assert log.stat().st_size > 0


def test_a_run_that_diverged_leaves_its_last_good_weights_outside_the_scratch_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = Run._validate

    def spoil(self: Run, *args: Any) -> Any:
        if len(self.records) == 1:
            raise diverged("a loss of nan", "step 1 of epoch 2", 3e-3)
        return validate(self, *args)

    monkeypatch.setattr(Run, "_validate", spoil)
    context, _ = _context(tmp_path)
    (out := tmp_path / "out").mkdir()
    with pytest.raises(CheckpointError, match="step 1 of epoch 2") as caught:
        stage.run(context, out)
    good = tmp_path / "last-good" / "model.safetensors"
    assert f'weights = "{good}"' in caught.value.fix and good.is_file()
    monkeypatch.undo()
    # As the message says: another rate throws the states away, and starts from these weights.
    context.folder.scratch("finetune", "f" * 16)
    assert not context.scratch.exists()
    onward, _ = _context(tmp_path, weights=str(good), learning_rate=1e-4)
    stage.run(onward, out)
    history = json.loads((out / "history.json").read_text())
    assert history["weights"]["source"] == "file" and not history["weights"]["fresh"]


def test_folders_and_data_in_the_tables_are_relative_to_the_config(tmp_path: Path) -> None:
    path = tmp_path / "release.toml"
    path.write_text(
        """
schema = "edgetl.config/1"
name = "tiny"
version = "1.0.0"
[data]
source = "builtin:digits"
val = 40
calib = 40
[input]
kind = "tensor"
shape = [8, 8]
[finetune]
architecture = "mlp"
weights = "none"
[finetune.distillation]
teacher = "teacher"
[finetune.previous]
classifier = "runs/first"
run = "runs/first"
[finetune.source]
data = "npz:other.npz"
"""
    )
    section = load_config(path).finetune
    assert section is not None and section.distillation and section.previous and section.source
    assert section.distillation.teacher == str(tmp_path / "teacher")
    assert section.previous.classifier == section.previous.run == str(tmp_path / "runs" / "first")
    assert section.source.data == f"npz:{tmp_path / 'other.npz'}"


def test_a_config_of_before_has_the_keys_of_before() -> None:
    table = build(ReleaseConfig, CONFIG, "config").to_json()["finetune"]
    assert table.keys() == {
        *("architecture", "head", "weights", "recipe", "device", "epochs", "head_epochs"),
        *("batch_size", "learning_rate", "head_learning_rate", "weight_decay", "label_smoothing"),
        *("augment", "precision", "patience", "pretrain"),
    }
    changed = {**CONFIG, "finetune": {**CONFIG["finetune"], "ema": 0.9, "l2_sp": {}}}
    later = build(ReleaseConfig, changed, "config")
    assert later.to_json()["finetune"].keys() - table.keys() == {"ema", "l2_sp"}
    assert build(ReleaseConfig, later.to_table(), "config") == later


def test_the_guides_tables_load(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    (tables,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    read = tomllib.loads(tables)["finetune"]
    config = build(ReleaseConfig, {**CONFIG, "finetune": {**CONFIG["finetune"], **read}}, "guide")
    section = config.finetune
    assert section is not None and section.source is not None and section.l2_sp is not None
    assert set(read) == {"l2_sp", "keep_answers", "distillation", "previous", "source"}
    assert (section.source.method, section.source.schedule) == ("joint", "linear-down")
