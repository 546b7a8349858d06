"""Bad release configs: one message, exit 2, no traceback, nothing made."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetl.cli.main import main

GOOD = """schema = "edgetl.config/1"
name = "tiny"
version = "1.0.0"
[data]
source = "builtin:digits"
val = 100
calib = 100
test = 720
[input]
kind = "tensor"
shape = [8, 8]
[finetune]
architecture = "mlp"
weights = "none"
"""


def _deep(levels: int) -> str:
    return "x = " + "[" * levels + "]" * levels


BAD = {
    "syntax": (GOOD.replace("val = 100", "val = "), "line 6, column 7"),
    "unknown key": (GOOD.replace("calib =", "calibb ="), "'calib'"),
    "unknown section": (GOOD.replace("[finetune]", "[fine_tune]"), "'finetune'"),
    "duplicate key": (GOOD.replace("val = 100", "val = 100\nval = 100"), "line 7"),
    "duplicate section": (GOOD + "[data]\n", "line 15"),
    "wrong type": (GOOD.replace("val = 100", "val = 100.5"), "data.val"),
    "a table for a number": (GOOD.replace("val = 100", "val = {a = 1}"), "data.val"),
    "nan": (GOOD + "learning_rate = nan\n", "learning_rate"),
    "inf": (GOOD + "[gate.policy]\nmax_nll_increase = inf\n", "max_nll_increase"),
    "../ in the name": (GOOD.replace('"tiny"', '"../../up"'), "name"),
    "an absolute name": (GOOD.replace('"tiny"', '"/etc/up"'), "name"),
    "over 1 MB": (GOOD + "#" * 1_000_000, "over 1 MB"),
    "100,000 deep": (_deep(100_000) + "\n" + GOOD, "nested too deep"),
    "100,000 dotted": (".".join("a" * 100_000) + " = 1\n" + GOOD, "dots"),
    "another schema": (GOOD.replace("config/1", "config/2"), "schema"),
    "no schema": (GOOD.replace('schema = "edgetl.config/1"', ""), "schema"),
    "not UTF-8": (GOOD.encode() + b"name2 = '\xff'", "UTF-8"),
    "a NUL": (GOOD.replace("tiny", "ti\0ny"), "line 2"),
    "empty": ("", "schema"),
    "a date": (GOOD.replace("val = 100", "val = 2026-11-20"), "a date"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_config_is_one_message(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text, named = BAD[name]
    path = tmp_path / "release.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main(["release", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert named in said.err.replace("\n", " ") and "Traceback" not in said.err
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_folder_or_nothing_in_place_of_a_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["release", str(tmp_path)]) == 2
    assert "folder" in capsys.readouterr().err
    assert main(["release", str(tmp_path / "gone.toml")]) == 2
    assert "nothing there" in capsys.readouterr().err
