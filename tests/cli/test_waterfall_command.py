from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from edgetl.cli.main import main

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "waterfall-1.json"


@pytest.fixture
def command(tiny_release) -> list[str]:
    return ["waterfall", str(tiny_release.config), "--out", str(tiny_release.folder)]


def test_a_table_that_fits_100_columns_and_the_lowest_layers(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "waterfall.json"
    more = ["--variant", "ov-int8", "--images", "40", "--json", str(target)]
    assert main([*command, *more]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "ov-int8 against PyTorch, step by step, on 40 val inputs"
    steps = ("decode", "resize", "export", "precision", "backend", "device", "total")
    assert [line.split()[0] for line in lines if line.startswith(steps)][:7] == list(steps)
    (drawn,) = (line for line in lines if line.startswith("precision") and "INT8" in line)
    assert drawn.rstrip().endswith("█" * 20)
    assert "SQNR dB" in shown.out and "Gemm" in shown.out
    assert "waterfall done" in shown.err
    document = json.loads(target.read_bytes())
    assert document["schema"] == "edgetl.waterfalls/1"
    (found,) = document["waterfalls"]
    jsonschema.validate(found, json.loads(SCHEMA.read_bytes()))
    assert (found["variant"], found["n"]) == ("ov-int8", 40)
    assert main([*command, *more]) == 2
    assert "--force" in capsys.readouterr().err


def test_the_winners_are_shown_when_none_is_named(
    tiny_release, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--images", "8", "--json", "-"]) == 0
    shown = capsys.readouterr()
    winners = {row.id for row in tiny_release.result.rows if row.verdict == "PASS"}
    assert {one["variant"] for one in json.loads(shown.out)["waterfalls"]} == winners
    assert shown.err == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--variant", "ov-int9"], "ov-int8"),
        (["--images", "0"], "at least 1"),
        (["--out", "nowhere"], "edgetl compile CONFIG"),
        (["--varant", "ov-int8"], "did you mean '--variant'?"),
    ],
)
def test_bad_usage_is_one_message_and_exit_2(
    command: list[str],
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and said in shown.err
    assert list(tmp_path.iterdir()) == []


def test_a_config_that_is_not_there_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["waterfall", "gone.toml"]) == 2
    assert "nothing there" in capsys.readouterr().err
