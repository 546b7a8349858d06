from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgetl.errors import ConfigError, DataError, UsageError
from edgetl.pipeline.events import Event
from edgetl.pipeline.graph import STAGES
from edgetl.pipeline.release import release
from edgetl.pipeline.run_folder import RECORD, RunFolder

REPEATABLE = ("data", "finetune", "calibrate", "export", "quantize", "compile")
CHECKER = Path(__file__).parents[2] / "benchmarks" / "check_verdict.py"


def outputs(root: Path, stages: tuple[str, ...] = REPEATABLE) -> dict[str, dict[str, str]]:
    return {stage: dict(RunFolder(root).outputs(stage)) for stage in stages}


def leftovers(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob(".*") if path.name != ".lock")


def test_it_passes_and_packs_one_winner_a_backend(tiny_release) -> None:
    result = tiny_release.result
    assert result.verdict == "PASS" and result.exit_code == 0
    assert result.bundle == tiny_release.folder / "bundle" / "tiny-1.2.3.edgetl"
    manifest = json.loads((result.bundle / "manifest.json").read_bytes())
    backends = [variant["backend"] for variant in manifest["variants"]]
    assert sorted(backends) == ["onnxruntime", "openvino"]
    assert leftovers(tiny_release.folder) == []


def test_rows_say_which_split_their_figures_are_from(tiny_release) -> None:
    rows = {row.id: row for row in tiny_release.result.rows}
    assert rows["reference"].split == "test"
    assert len(rows) == 6
    for row in rows.values():
        judged = row.verdict in ("PASS", "FAIL", "INCONCLUSIVE", "reference")
        assert row.split == ("test" if judged else "val")
    assert sum(row.verdict == "PASS" for row in rows.values()) == 2


def test_test_predictions_exist_for_the_reference_and_the_winners_only(tiny_release) -> None:
    folder = tiny_release.folder / "gate" / "predictions"
    winners = {row.id for row in tiny_release.result.rows if row.verdict == "PASS"}
    on_test = {path.stem.removeprefix("test-") for path in folder.glob("test-*.npz")}
    assert on_test == winners | {"reference"}
    assert len(list(folder.glob("val-*.npz"))) == 6
    openings = json.loads((tiny_release.folder / "test-openings.json").read_bytes())["openings"]
    assert [set(opening["winners"]) for opening in openings] == [winners]


def test_an_independent_script_recomputes_every_bound(tiny_release, tmp_path: Path) -> None:
    verdict = tiny_release.folder / "gate" / "verdict.json"
    command = [sys.executable, str(CHECKER)]
    subprocess.run([*command, str(verdict)], check=True, capture_output=True)
    document = json.loads(verdict.read_bytes())
    document["variants"][0]["gates"][0]["upper"] -= 1e-4
    tampered = tmp_path / "verdict.json"
    tampered.write_text(json.dumps(document))
    caught = subprocess.run([*command, str(tampered), str(verdict.parent)], capture_output=True)
    assert caught.returncode == 1


def test_a_second_run_does_nothing(tiny_release) -> None:
    events: list[Event] = []
    again = release(tiny_release.config, out=tiny_release.folder, listen=events.append)
    assert {event.kind for event in events} == {"fresh"}
    assert len(events) == len(STAGES)
    assert again.rows == tiny_release.result.rows


def test_another_folder_gives_the_same_hashes(tiny_release, tmp_path: Path) -> None:
    release(tiny_release.config, out=tmp_path / "run", until="compile")
    assert outputs(tmp_path / "run") == outputs(tiny_release.folder)
    assert not (tmp_path / "run" / "test-openings.json").exists()


def test_a_stricter_policy_is_judged_from_the_same_measurements(
    tiny_release, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_release.folder, run)
    config = tmp_path / "strict.toml"
    # Five times faster than PyTorch, and no margin of error for a network of microseconds.
    config.write_text(
        tiny_release.config.read_text().replace("max_p50_ratio = 5.0", "max_p50_ratio = 0.0001")
    )
    events: list[Event] = []
    result = release(config, out=run, listen=events.append)
    assert result.verdict == "FAIL" and result.exit_code == 1
    assert result.bundle is None
    # What an earlier verdict allowed to ship is gone with that verdict.
    assert not (run / "bundle").exists()
    assert {event.stage for event in events if event.kind == "start"} == {"gate", "report"}
    assert result.report is not None and "FAIL" in result.report.read_text()
    assert not any(row.verdict == "PASS" for row in result.rows)


def test_a_changed_stage_file_is_made_again(tiny_release, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_release.folder, run)
    model = run / "compile" / "models" / "ort-fp32.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    events: list[Event] = []
    release(tiny_release.config, out=run, until="compile", listen=events.append)
    assert [event.stage for event in events if event.kind == "start"] == ["compile"]
    assert outputs(run) == outputs(tiny_release.folder)


def stopped_in(
    stage: str, how: signal.Signals, tiny_release, run: Path
) -> subprocess.CompletedProcess[str]:
    """Take over the stages before one, start the release, stop it in that stage."""
    names = [one.name for one in STAGES]
    run.mkdir()
    for name in names[: names.index(stage)]:
        shutil.copytree(tiny_release.folder / name, run / name)
    shutil.copyfile(tiny_release.folder / "run.json", run / "run.json")
    command = [sys.executable, "-m", "edgetl", "release"]
    said = run.with_suffix(".stderr")
    with said.open("w") as stderr:
        process = subprocess.Popen(
            [*command, str(tiny_release.config), "--out", str(run)],
            stderr=stderr,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    while not (run / "logs" / f"{stage}.log").exists():
        assert process.poll() is None, said.read_text()
    process.send_signal(how)
    code = process.wait(20)
    return subprocess.CompletedProcess(command, code, stderr=said.read_text())


@pytest.mark.parametrize("stage", ["finetune", "quantize"])
def test_killed_and_run_again_it_gives_the_same_hashes(
    tiny_release, tmp_path: Path, stage: str
) -> None:
    run = tmp_path / "run"
    stopped_in(stage, signal.SIGKILL, tiny_release, run)
    assert not (run / stage / RECORD).exists()
    release(tiny_release.config, out=run, until=stage)
    assert outputs(run, (stage,)) == outputs(tiny_release.folder, (stage,))
    assert leftovers(run) == []


@pytest.mark.slow
@pytest.mark.parametrize("stage", [stage.name for stage in STAGES])
def test_killed_at_any_stage_it_resumes_to_the_same_verdict(
    tiny_release, tmp_path: Path, stage: str
) -> None:
    run = tmp_path / "run"
    stopped_in(stage, signal.SIGKILL, tiny_release, run)
    result = release(tiny_release.config, out=run)
    assert result.verdict == "PASS"
    assert outputs(run) == outputs(tiny_release.folder)
    assert leftovers(run) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_in_time_and_leaves_nothing_half_written(
    tiny_release, tmp_path: Path, how: signal.Signals
) -> None:
    run = tmp_path / "run"
    process = stopped_in("export", how, tiny_release, run)
    assert process.returncode == 130
    assert "interrupted" in process.stderr
    assert not (run / "export").exists()
    assert not list(run.glob(".export.*"))


@pytest.mark.parametrize("things", [["thesis.tex"], [".lock", "data/thesis.tex"]])
def test_only_a_run_folder_is_written_into(
    tiny_config: Path, tmp_path: Path, things: list[str]
) -> None:
    for name in things:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("years of work")
    with pytest.raises(UsageError, match="other things"):
        release(tiny_config, out=tmp_path)
    assert (tmp_path / things[-1]).read_text() == "years of work"


def test_the_run_of_another_release_is_not_taken_over(tiny_release, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_release.folder, run)
    config = tmp_path / "other.toml"
    config.write_text(tiny_release.config.read_text().replace('name = "tiny"', 'name = "other"'))
    with pytest.raises(UsageError, match="another release, 'tiny'"):
        release(config, out=run)
    assert outputs(run) == outputs(tiny_release.folder)


def test_what_is_refused_at_once_leaves_no_folder(tiny_config: Path, tmp_path: Path) -> None:
    config = tmp_path / "more.toml"
    config.write_text(tiny_config.read_text().replace("train = 500", "train = 5000"))
    with pytest.raises(DataError):
        release(config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_stage_is_refused(tiny_config: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exprot"):
        release(tiny_config, out=tmp_path / "run", until="exprot")


def test_an_open_verdict_says_how_many_more_images_would_decide_it(
    tiny_release, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_release.folder, run)
    config = tmp_path / "narrow.toml"
    # A fifth of a point cannot be shown with 797 images, however well the two agree.
    config.write_text(tiny_release.config.read_text() + "max_accuracy_drop = 0.002\n")
    result = release(config, out=run)
    assert result.verdict == "INCONCLUSIVE" and result.exit_code == 4
    assert result.bundle is None
    assert any("top1_drop" in line and "more labelled inputs" in line for line in result.open_gates)
