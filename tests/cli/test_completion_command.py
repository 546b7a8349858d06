from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgetl.cli.completion_command import SHELLS, completion_script
from edgetl.cli.main import main
from edgetl.cli.parser import command_names, make_parser


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "edgetl.bash"
    path.write_text(completion_script(make_parser(), "bash"))
    return path


def completions(script: Path, folder: Path, *words: str) -> set[str]:
    """What bash offers for the last of `words`, in a folder."""
    code = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        'complete -p edgetl >/dev/null && _shtab_edgetl && printf "%s\\n" "${COMPREPLY[@]}"'
    )
    process = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", code, "bash", str(script), "edgetl", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(process.stdout.split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("pets.toml", "pets.txt", "cat.jpg"):
        (tmp_path / name).touch()
    for name in ("runs", "pets-1.0.0.edgetl"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["rel"], {"release"}),
        (["release", "--o"], {"--out"}),
        (["gate", "--pre"], {"--predictions"}),
        (["release", "pet"], {"pets.toml", "pets-1.0.0.edgetl"}),
        (["release", "pets.toml", "--out", "ru"], {"runs"}),
        (["release", "pets.toml", "--out", "pets."], set()),
        (["verify", "pets-"], {"pets-1.0.0.edgetl"}),
        (["inspect", "pets-"], {"pets-1.0.0.edgetl"}),
        (["init", "--weights", "pets.tx"], {"pets.txt"}),
        (["predict", "pets-1.0.0.edgetl", "ca"], {"cat.jpg"}),
        (["gate", "--predictions", "a.npz", "pets.t"], {"pets.toml", "pets.txt"}),
        (["completion", "z"], {"zsh"}),
    ],
)
def test_bash_completes(
    bash_script: Path, folder: Path, words: list[str], offered: set[str]
) -> None:
    assert completions(bash_script, folder, *words) == offered


def test_bash_offers_every_command(bash_script: Path, folder: Path) -> None:
    assert completions(bash_script, folder, "") == set(command_names(make_parser()))


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shells_script_names_every_command(
    shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for name in command_names(make_parser()):
        assert name in script
    if shutil.which(shell) is None:
        return
    path = tmp_path / "script"
    path.write_text(script)
    subprocess.run([shell, "-n", str(path)], check=True)


def test_another_shell_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bsh"]) == 2
    assert "did you mean 'bash'?" in capsys.readouterr().err


def test_without_shtab_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 3
    shown = capsys.readouterr()
    assert "edgetl[completion]" in shown.err
    assert shown.out == ""
