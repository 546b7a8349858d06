from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgetl.cli.main import main
from edgetl.pipeline.config import load_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    samples = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    np.savez(tmp_path / "windows.npz", x=samples, labels=np.arange(90) % 3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_writes_a_config_that_can_be_released(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--data", "npz:windows.npz"]) == 0
    shown = capsys.readouterr()
    assert "next     edgetl release windows.toml --dry-run" in shown.out
    assert "[data]" not in shown.out and shown.err == ""
    config = load_config(folder / "windows.toml")
    assert config.data.source == f"npz:{folder / 'windows.npz'}"
    assert 'source = "npz:windows.npz"' in (folder / "windows.toml").read_text()
    assert main(["release", "windows.toml", "--dry-run"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["windows.npz", "windows.toml"]


def test_paths_are_relative_to_the_config(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "configs").mkdir()
    assert main(["init", "--data", "npz:windows.npz", "--out", "configs/my run.toml"]) == 0
    written = folder / "configs" / "my run.toml"
    assert "next     edgetl release 'configs/my run.toml' --dry-run" in capsys.readouterr().out
    assert 'source = "npz:../windows.npz"' in written.read_text()
    assert load_config(written).name == "my-run"


def test_it_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.iterdir())
    assert main(["init", "--data", "npz:windows.npz", "--out", "-"]) == 0
    shown = capsys.readouterr()
    assert sorted(folder.iterdir()) == before
    (folder / "a.toml").write_text(shown.out)
    assert load_config(folder / "a.toml").name == "windows"
    assert "next" in shown.err


def test_it_overwrites_when_it_is_told_to(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = folder / "mine.toml"
    target.write_text("precious")
    command = ["init", "--data", "npz:windows.npz", "--out", "mine.toml"]
    assert main(command) == 2
    assert "--force" in capsys.readouterr().err
    assert target.read_text() == "precious"
    assert main([*command, "--force"]) == 0
    assert load_config(target).name == "mine"


@pytest.mark.parametrize("out", [".", "missing/a.toml", "link.toml"])
def test_places_that_are_none(folder: Path, out: str) -> None:
    (folder / "link.toml").symlink_to("windows.npz")
    before = (folder / "windows.npz").read_bytes()
    assert main(["init", "--data", "npz:windows.npz", "--out", out, "--force"]) == 2
    assert (folder / "windows.npz").read_bytes() == before


def test_the_schema_lies_beside_the_config_that_names_it(folder: Path) -> None:
    assert main(["init", "--data", "npz:windows.npz", "--schema"]) == 0
    first = (folder / "windows.toml").read_text().splitlines()[0]
    assert first == "#:schema ./edgetl-config-1.json"
    written = (folder / "edgetl-config-1.json").read_bytes()
    assert written == (ROOT / "docs" / "schemas" / "config-1.json").read_bytes()
    # A second config beside it shares it; another file of its name is not written over.
    assert main(["init", "--data", "npz:windows.npz", "--schema", "--out", "b.toml"]) == 0
    (folder / "edgetl-config-1.json").write_text(json.dumps({"mine": True}))
    assert main(["init", "--data", "npz:windows.npz", "--schema", "--out", "c.toml"]) == 2
    assert not (folder / "c.toml").exists()
    assert main(["init", "--data", "npz:windows.npz", "--schema", "--out", "-"]) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--data"),
        (["--data", "npz:nowhere.npz"], "nowhere.npz"),
        (["--data", "windows.npz"], "unknown source"),
        (["--data", "npz:windows.npz", "--model", "resnet18"], "torchvision:resnet18"),
        (["--data", "npz:windows.npz", "--weights", "w.pt"], "no --model"),
    ],
)
def test_bad_usage_writes_nothing(
    folder: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["windows.npz"]


def test_it_never_loads_torch(folder: Path) -> None:
    code = (
        "import sys; from edgetl.cli.main import main\n"
        "assert main(['init', '--data', 'npz:windows.npz']) == 0\n"
        "assert not {'torch', 'onnxruntime', 'openvino'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
