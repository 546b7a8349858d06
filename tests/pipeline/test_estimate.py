from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgetl.gate.toml_table import build
from edgetl.pipeline.config import ReleaseConfig, load_config
from edgetl.pipeline.estimate import UNKNOWN, Estimator
from edgetl.pipeline.run_folder import RECORD, RunFolder


@pytest.fixture
def config(tiny_config: Path) -> ReleaseConfig:
    return load_config(tiny_config)


def changed(config: ReleaseConfig, section: str, **values: object) -> ReleaseConfig:
    table = config.to_table()
    table[section].update(values)
    return build(ReleaseConfig, table, "changed")


def test_without_a_run_the_time_is_unknown_but_for_the_benchs_budget(config, tmp_path) -> None:
    estimator = Estimator(config, RunFolder(tmp_path / "run"))
    assert estimator.estimate("finetune").seconds is None
    assert estimator.estimate("finetune").basis == UNKNOWN
    assert estimator.estimate("bench").seconds == 20.0


def test_the_same_work_takes_the_same_time(config, tmp_path, finished_run) -> None:
    folder = finished_run(config, tmp_path / "run", seconds=8.0)
    for stage in ("data", "finetune", "calibrate", "export", "quantize", "bench", "gate", "bundle"):
        estimate = Estimator(config, folder).estimate(stage)
        assert estimate.seconds == pytest.approx(8.0), stage
        assert estimate.basis == "last time 8.0 s"


def test_training_grows_with_epochs_images_and_pixels(config, tmp_path, finished_run) -> None:
    finished_run(config, tmp_path / "before", seconds=8.0)
    folder = RunFolder(tmp_path / "now")

    def seconds(other: ReleaseConfig) -> float | None:
        return Estimator(other, folder).estimate("finetune").seconds

    assert seconds(config) == pytest.approx(8.0)
    assert seconds(changed(config, "finetune", epochs=24)) == pytest.approx(16.0)
    assert seconds(changed(config, "data", train=250)) == pytest.approx(4.0)
    # All that remain: how many is known once the data stage has run.
    assert seconds(changed(config, "data", train=None)) is None
    two_stage = changed(config, "finetune", recipe="two-stage", epochs=12, head_epochs=3)
    assert seconds(two_stage) == pytest.approx(8.0 * 13 / 12)
    assert "before" in Estimator(config, folder).estimate("finetune").basis


def test_the_images_that_remain_are_counted_in_its_own_folder(
    config, tmp_path, finished_run
) -> None:
    rest = changed(config, "data", train=None)
    folder = finished_run(rest, tmp_path / "run", seconds=8.0)
    longer = changed(rest, "finetune", epochs=6)
    assert Estimator(longer, folder).estimate("finetune").seconds == pytest.approx(4.0)


def test_another_network_or_number_of_threads_says_nothing(config, tmp_path, finished_run) -> None:
    finished_run(config, tmp_path / "before")
    folder = RunFolder(tmp_path / "now")
    table = config.to_table()
    threads = build(ReleaseConfig, table | {"threads": config.used_threads + 1}, "changed")
    assert Estimator(threads, folder).estimate("finetune").seconds is None
    table["input"] = {"height": 32, "width": 32}
    table["finetune"]["architecture"] = "resnet18"
    resnet = build(ReleaseConfig, table, "changed")
    assert Estimator(resnet, folder).estimate("finetune").seconds is None
    assert Estimator(resnet, folder).estimate("data").seconds == pytest.approx(10.0)


def test_the_most_alike_of_several_runs_is_taken(config, tmp_path, finished_run) -> None:
    finished_run(changed(config, "finetune", epochs=1), tmp_path / "a", seconds=5.0)
    finished_run(changed(config, "finetune", epochs=10), tmp_path / "b", seconds=20.0)
    estimate = Estimator(config, RunFolder(tmp_path / "now")).estimate("finetune")
    assert estimate.seconds == pytest.approx(24.0)
    assert str(tmp_path / "b") in estimate.basis and "1.2 times" in estimate.basis


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"splits": 3}', '{"splits": {"train": {}}}', '{"splits": []}']
)
def test_damaged_runs_teach_nothing(config, tmp_path, finished_run, damage: str) -> None:
    folder = finished_run(config, tmp_path / "before")
    (folder.stage("data") / "splits.json").write_text(damage)
    assert Estimator(config, RunFolder(tmp_path / "now")).estimate("export").seconds is None


@pytest.mark.parametrize(
    "value", [{"seconds": "8"}, {"inputs": 3}, {"inputs": {"config": 3}}, {"seconds": None}]
)
def test_records_that_are_none_teach_nothing(
    config, tmp_path, finished_run, value: dict[str, object]
) -> None:
    folder = finished_run(config, tmp_path / "before")
    for record in folder.root.glob(f"*/{RECORD}"):
        record.write_text(json.dumps(json.loads(record.read_bytes()) | value))
    assert Estimator(config, RunFolder(tmp_path / "now")).estimate("export").seconds is None


def test_the_name_of_another_machine_is_said_and_other_cores_are_not_compared(
    config, tmp_path, finished_run
) -> None:
    folder = finished_run(config, tmp_path / "before")

    def move(name: str, more_cores: int) -> None:
        for path in folder.root.glob(f"*/{RECORD}"):
            record = json.loads(path.read_bytes())
            if "machine" in record["inputs"]:
                _, kind, cores = record["inputs"]["machine"]
                record["inputs"]["machine"] = [name, kind, cores + more_cores]
                path.write_text(json.dumps(record))

    move("elsewhere", 0)
    estimate = Estimator(config, RunFolder(tmp_path / "now")).estimate("export")
    assert "on elsewhere" in estimate.basis
    move("elsewhere", 1)
    assert Estimator(config, RunFolder(tmp_path / "now")).estimate("export").seconds is None
