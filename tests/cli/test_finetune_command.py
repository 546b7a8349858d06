from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.cli import finetune_command
from edgetl.cli.main import main
from edgetl.pipeline.config import load_config
from edgetl.pipeline.release import plan_release

DATA = "npz:windows.npz"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    draws = np.random.default_rng(0)
    labels = np.arange(150) % 3
    samples = draws.normal(size=(150, 4)) + 2 * labels[:, None]
    np.savez(tmp_path / "windows.npz", x=samples.astype(np.float32), labels=labels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_data_alone_is_enough(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", DATA, "--epochs", "2", "--json", "result.json"]) == 0
    shown = capsys.readouterr().out
    assert "recipe = full: from scratch there is nothing to keep" in shown
    assert "[--recipe RECIPE]" in shown and "[--set augment=VALUE]" in shown
    assert "wrote    windows.toml" in shown and "next     edgetl release windows.toml" in shown
    assert "top-1" in shown and "epochs = 2: asked for" in shown
    assert max(map(len, shown.splitlines())) <= 100
    config = load_config(folder / "windows.toml")
    assert config.finetune is not None and config.finetune.epochs == 2
    document = json.loads((folder / "result.json").read_text())
    assert document["schema"] == "edgetl.finetune/1" and document["config"] == "windows.toml"
    assert document["epochs"] == 2 and document["transfer"] is None
    assert {one["key"] for one in document["chosen"]} >= {"recipe", "epochs", "batch_size"}
    # The same call goes on with the same config; a release finds it trained.
    assert main(["finetune", DATA, "--epochs", "2"]) == 0
    states = {one.name: one.state for one in plan_release(folder / "windows.toml").stages}
    assert states["finetune"] == "done"
    # Another choice is not written over it.
    before = (folder / "windows.toml").read_bytes()
    assert main(["finetune", DATA, "--epochs", "3"]) == 2
    assert "--config FILE" in capsys.readouterr().err
    assert (folder / "windows.toml").read_bytes() == before
    # A search starts from it, and writes the config of the best trial.
    command = ["finetune", "windows.toml", "--trials", "2", "--search", "epochs=1:3"]
    assert main([*command, "--json", "search.json"]) == 0
    shown = capsys.readouterr().out
    assert "trials   2 complete" in shown and "edgetl finetune windows-tuned.toml" in shown
    found = json.loads((folder / "search.json").read_text())
    assert found["schema"] == "edgetl.search/1" and found["config"] == "windows-tuned.toml"
    assert Path(found["picture"]).is_file() and len(found["trials"]) == 2
    assert load_config(folder / "windows-tuned.toml").name == "windows-tuned"
    assert not list((folder / "runs" / "windows" / "search").glob("trial-*"))


def test_a_dry_run_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", DATA, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "recipe = full" in shown and "writes   windows.toml" in shown and "will run" in shown
    assert main(["finetune", DATA, "--dry-run", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "edgetl.plan/1"
    assert names(folder) == ["windows.npz"]
    assert main(["finetune", DATA, "--dry-run", "--config", "missing/mine.toml"]) == 2


def test_it_does_not_load_torch(folder: Path) -> None:
    script = (
        "import sys; from edgetl.cli.main import main\n"
        f"code = main(['finetune', {DATA!r}, '--dry-run', '--quiet'])\n"
        "assert code == 0 and 'torch' not in sys.modules and 'optuna' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.fixture
def trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would be trained, instead of training."""
    asked: list[dict[str, Any]] = []

    def note(options: Any, request: Any) -> int:
        asked.append({"config": request.config, "launch": request.launch})
        return 0

    monkeypatch.setattr(finetune_command, "_train", note)
    return asked


def test_options_decide(trained: list[dict[str, Any]], folder: Path) -> None:
    command = ["finetune", DATA, "--config", "mine.toml", "--seed", "7", "--batch-size", "10"]
    command += ["--set", "optimizer=sgd", "--set", "label_smoothing=0.1", "--processes", "2"]
    assert main(command) == 0
    assert trained[0]["config"] == Path("mine.toml") and trained[0]["launch"].processes == 2
    config = load_config(folder / "mine.toml")
    assert config.name == "mine" and config.seed == 7 and config.finetune is not None
    assert config.finetune.optimizer == "sgd" and config.finetune.batch_size == 10
    assert main([*command, "--epochs", "9", "--force"]) == 0
    again = load_config(folder / "mine.toml")
    assert again.finetune is not None and again.finetune.epochs == 9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--search", "epochs=1:2"], "without --trials"),
        (["--storage", "a.log"], "without --trials"),
        (["--timeout", "1"], "without --trials"),
        (["--ray", "auto"], "without --trials"),
        (["--trials", "2", "--processes", "2"], "--storage"),
        (["--trials", "2", "--check-transfer"], "beside a baseline"),
        (["--trials", "2", "--timeout", "0"], "minutes"),
        (["--trials", "2", "--timeout", "nan"], "minutes"),
        (["--trials", "0"], "at least 1"),
        (["--processes", "0"], "at least 1"),
        (["--machines", "2"], "--address HOST:PORT"),
        (["--address", "a:1"], "--machines N"),
        (["--set", "epoch=2"], "did you mean 'epochs'"),
        (["--recipe", "fll"], "recipe"),
        (["--config", "."], "a folder"),
        (["--config", "windows.npz"], "another config"),
    ],
)
def test_options_that_do_not_fit(
    trained: list[dict[str, Any]],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    before = (folder / "windows.npz").read_bytes()
    assert main(["finetune", DATA, *options]) == 2
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error
    assert not trained and names(folder) == ["windows.npz"]
    assert (folder / "windows.npz").read_bytes() == before


@pytest.mark.parametrize(
    "options",
    [["--epochs", "3"], ["--set", "epochs=3"], ["--size", "8"], ["--config", "b.toml"]],
)
def test_a_config_says_all_of_it(
    trained: list[dict[str, Any]],
    tiny_config: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
) -> None:
    assert main(["finetune", str(tiny_config), *options]) == 2
    assert "write it into the file" in capsys.readouterr().err
    assert main(["finetune", str(tiny_config)]) == 0
    assert trained[0]["config"] == tiny_config


@pytest.mark.parametrize(
    "data", ["missing", "missing.toml", "foldr:photos", "windows.txt", "npz:missing.npz", ""]
)
def test_what_is_no_data(
    trained: list[dict[str, Any]], folder: Path, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "windows.txt").write_text("")
    assert main(["finetune", data]) == 2
    assert "to fix" in capsys.readouterr().err and not trained
