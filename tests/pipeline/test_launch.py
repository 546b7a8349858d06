from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from edgetl.errors import ConfigError, UnavailableError, WorkerError
from edgetl.files import parse_json
from edgetl.pipeline import launch
from edgetl.pipeline.config import load_config
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.events import Event, Reporter, ignore
from edgetl.pipeline.launch import check_devices, take_part, train_together
from edgetl.pipeline.processes import ALONE, Launch
from edgetl.pipeline.release import release
from edgetl.pipeline.run_folder import RunFolder
from edgetl.pipeline.stages.finetune import train

ROOT = Path(__file__).parents[2]
BOTH = Launch(processes=2)


@pytest.fixture
def config(tmp_path: Path, tiny_config: Path) -> Path:
    """Steps that two processes halve evenly: the mean of their gradients is the whole's."""
    path = tmp_path / "tiny.toml"
    text = tiny_config.read_text().replace("train = 500", "train = 256")
    path.write_text(text.replace("epochs = 12", "epochs = 3\nbatch_size = 64"))
    return path


def history(run: Path) -> dict[str, Any]:
    path = run / "finetune" / "history.json"
    found: dict[str, Any] = parse_json(path.read_bytes(), str(path))
    return found


def test_two_processes_give_the_metrics_of_one(config: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    run = release(config, out=tmp_path / "run", until="data").folder

    def context(name: str) -> StageContext:
        (run / name).mkdir()
        return StageContext(
            config=load_config(config),
            folder=RunFolder(run),
            reporter=Reporter("finetune", events.append),
            scratch=run / name,
        )

    one = train(context("one"), "none")
    heard = len(events)
    two = train_together(train, context("two"), "none", BOTH)
    assert (one.processes, two.processes) == (1, 2)
    assert one.best_epoch == two.best_epoch
    for left, right in zip(one.records, two.records, strict=True):
        assert right.top1 == left.top1
        for name in ("nll", "ece", "entropy"):
            assert getattr(right, name) == pytest.approx(getattr(left, name), abs=2e-4), name
    # The first process alone is heard, as one that trains alone is.
    assert len(events) == 2 * heard and not list(run.glob(".work/*"))


@pytest.mark.slow
def test_a_stage_of_two_processes_is_one_stage(config: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    alone = release(config, out=tmp_path / "one", until="finetune").folder
    both = release(
        config, out=tmp_path / "two", until="finetune", listen=events.append, launch=BOTH
    ).folder
    one, two = history(alone), history(both)
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["best_epoch"] == two["best_epoch"]
    for left, right in zip(one["epochs"], two["epochs"], strict=True):
        assert right["top1"] == left["top1"]
        for name in ("nll", "ece", "entropy"):
            assert right[name] == pytest.approx(left[name], abs=2e-4), name
    # One process speaks, one writes, and nothing else is left.
    notes = [one.text for one in events if one.stage == "finetune" and one.kind == "note"]
    assert sum("2 processes" in text for text in notes) == 1
    assert any(one.stage == "finetune" and one.kind == "progress" for one in events)
    assert sorted(path.name for path in both.iterdir()) == sorted(
        path.name for path in alone.iterdir()
    )
    # The same config is the same stage: a release does not train again.
    again: list[Event] = []
    release(config, out=both, until="finetune", listen=again.append)
    assert [one.kind for one in again] == ["fresh", "fresh"]


@pytest.mark.slow
def test_what_training_refuses_comes_back_from_the_processes(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace("batch_size = 64", "batch_size = 2"))
    text = config.read_text().replace("train = 256", "train = 255")
    config.write_text(text)
    with pytest.raises(ConfigError, match="1 images a step for 2 processes"):
        release(config, out=tmp_path / "run", until="finetune", launch=BOTH)
    assert not list((tmp_path / "run").glob(".finetune*"))
    with pytest.raises(ConfigError, match="2 samples a step for 3 processes"):
        release(config, out=tmp_path / "run", until="finetune", launch=Launch(processes=3))


@pytest.mark.slow
def test_two_machines_share_a_folder(config: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    run = tmp_path / "run"
    command = [sys.executable, "-m", "edgetl", "finetune", str(config), "--out", str(run)]
    command += ["--machines", "2", "--address", address]
    machines = [
        subprocess.Popen(
            [*command, "--rank", str(rank)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (1, 0)
    ]
    said = [one.communicate(timeout=300)[0] for one in machines]
    assert [one.returncode for one in machines] == [0, 0], said
    assert "machine 0 of 2 has the result" in said[0]
    assert history(run)["processes"] == 2
    alone = release(config, out=tmp_path / "one", until="finetune").folder
    two, one = history(run)["epochs"][-1], history(alone)["epochs"][-1]
    assert two["nll"] == pytest.approx(one["nll"], abs=2e-4)


def test_machine_0_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_WAIT_SECONDS", 1)
    elsewhere = Launch(machines=2, rank=1, address="127.0.0.1:1")
    with pytest.raises(UnavailableError, match="machine 0 of 2"):
        take_part(Reporter("finetune", ignore), tmp_path, elsewhere, "cpu", tmp_path)


def test_a_gpu_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    check_devices(BOTH, "auto")
    check_devices(Launch(processes=8), "cpu")
    for device in ("auto", "cuda"):
        with pytest.raises(UnavailableError, match="2 GPUs"):
            check_devices(Launch(processes=3), device)
    check_devices(ALONE, "cuda")


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UnavailableError, match="no CUDA device"):
        check_devices(BOTH, "cuda")
    check_devices(BOTH, "auto")


@pytest.mark.slow
def test_an_interrupt_ends_all_processes_and_can_be_resumed(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace("epochs = 3", "epochs = 40\npatience = 40"))
    run = tmp_path / "run"
    processes: list[int] = []
    before = set(_below(os.getpid()))

    def interrupt(event: Event) -> None:
        begun = event.kind == "progress" and event.stage == "finetune" and event.done > 20
        if begun and not processes:
            processes.extend(set(_below(os.getpid())) - before)
            threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        release(config, out=run, until="finetune", listen=interrupt, launch=BOTH)
    assert len(processes) >= 3
    # The kernel ends them in the moment in which the stage's process is gone: within its grace.
    late = time.monotonic() + 10
    while any(map(_is_alive, processes)) and time.monotonic() < late:
        os.sched_yield()
    assert not [one for one in processes if _is_alive(one)]
    assert not list(run.glob(".finetune*")) and not (run / "finetune").exists()
    done = release(config, out=run, until="finetune", launch=BOTH).folder
    assert len(history(done)["epochs"]) == 40


@pytest.mark.slow
def test_a_process_that_dies_is_told(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config.parent / "doomed.py").write_text(
        "import os, torch\n"
        "def make(classes):\n"
        "    if os.environ.get('RANK') == '1':\n"
        "        os._exit(9)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, classes))\n"
    )
    text = config.read_text().replace('"mlp"', '"python:doomed:make"')
    config.write_text(text)
    with pytest.raises(WorkerError, match="several processes"):
        release(config, out=tmp_path / "run", until="finetune", launch=BOTH)


def _below(process: int) -> list[int]:
    """The processes that a process started, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_below(int(child))]
    return found


def _is_alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
