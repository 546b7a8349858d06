"""What `edgetl choose` is given and cannot use: one message, exit 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetl.cli.main import main
from tests.data.helpers.pictures import make_folder


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"cat": 30}, "at least two"),
        ({"cat": 30, "dog": 1}, "class"),
        ({"cat": 1, "dog": 1}, "class"),
        ({"cat": 30, "dog": 0}, "one class only"),
    ],
)
def test_too_few_classes_or_images(
    counts: dict[str, int],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_folder(tmp_path / "pets", counts)
    for name in counts:
        (tmp_path / "pets" / name).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path)
    assert main(["choose", "folder:pets", "--budget-ms", "5", "--backbones", "resnet18"]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and said in shown.err and "to fix" in shown.err
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schema = 1", "edgetl.config/1"),
        ("[[[", "line 1"),
        ('schema = "edgetl.config/1"\nname = "../up"', "name"),
        ("", "schema"),
    ],
)
def test_a_config_that_is_none(
    text: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bad.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert main(["choose", "bad.toml", "--budget-ms", "5"]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and said in shown.err and "Traceback" not in shown.err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.toml"]


@pytest.mark.parametrize("budget", ["0", "-1", "nan", "inf", "1e400", "-0.0", ""])
def test_a_budget_that_is_no_time(
    budget: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["choose", "builtin:digits", f"--budget-ms={budget}"]) == 2
    assert "to fix" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_another_run_is_not_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    command = ["choose", "builtin:digits", "--budget-ms", "5", "--backbones", "resnet18"]
    assert main([*command, "--out", str(tmp_path / "mine")]) == 2
    assert "a folder with other things in it" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
