from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from edgetl.cli import arguments
from edgetl.cli.main import main
from edgetl.cli.parser import command_parsers, make_parser
from edgetl.data import sources

README = Path(__file__).parents[2] / "README.md"


def test_every_command_has_help_with_an_example() -> None:
    for name, parser in command_parsers(make_parser()).items():
        text = parser.format_help()
        assert f"edgetl {name}" in text.split("example:")[1]
        assert max(map(len, text.splitlines())) <= 100


def test_every_example_is_a_command_line_that_parses() -> None:
    for name, parser in command_parsers(make_parser()).items():
        lines = parser.format_help().split("example:\n")[1].split("\n\n")[0].splitlines()
        assert lines
        for line in lines:
            program, *arguments = shlex.split(line)
            assert (program, arguments[0]) == ("edgetl", name)
            make_parser().parse_args(arguments)


def test_help_fits_its_screen() -> None:
    lines = make_parser().format_help().splitlines()
    assert len(lines) <= 45
    # Each command in one line: its name, and what it does beside it.
    for name in command_parsers(make_parser()):
        assert sum(line.split()[:1] == [name] and len(line.split()) > 1 for line in lines) == 1
    for parser in (make_parser(), *command_parsers(make_parser()).values()):
        assert max(map(len, parser.format_help().splitlines())) <= 96


def test_the_readme_names_every_command() -> None:
    table = README.read_text().split("## Commands")[1]
    for name in command_parsers(make_parser()):
        assert f"`{name}" in table, name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["relase", "x.toml"], "did you mean 'release'?"),
        ([], "COMMAND"),
        (["release"], "CONFIG"),
        (["release", "x.toml", "--ot", "y"], "did you mean '--out'?"),
        (["release", "x.toml", "--dryrun"], "did you mean '--dry-run'?"),
        (["release", "x.toml", "--dryrun"], "edgetl release [-h]"),
        (["release", "x.toml", "--jsn=-"], "did you mean '--json'?"),
        (["release", "x.toml", "--zzz"], "edgetl release --help"),
        (["release", "no-such.toml"], "nothing there"),
        (["release", "."], "a folder"),
        (["predict", "no-such.edgetl", "7.png"], "nothing there"),
        (["predict", ".", "7.png", "--threads", "0"], "'0'"),
        (["predict", ".", "7.png", "--threads", "-1"], "'-1'"),
        (["predict", ".", "7.png", "--top-k", "two"], "'two'"),
        (["gate"], "neither or both"),
        (["gate", "x.toml", "--predictions", "a", "b"], "neither or both"),
        (["gate", "--predictions", "no.npz", "no.npz"], "nothing there"),
    ],
)
def test_bad_usage_is_one_message_and_exit_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    parts = [line.split()[0] for line in shown.err.splitlines()]
    assert parts == ["edgetl:", "got", "expected", "to"]


def test_results_are_never_overwritten_without_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "a.toml"
    config.write_text("")
    result = tmp_path / "result.json"
    result.write_text("precious")
    assert main(["release", str(config), "--json", str(result)]) == 2
    assert "--force" in capsys.readouterr().err
    assert result.read_text() == "precious"


@pytest.mark.parametrize("target", ["folder", "missing/result.json"])
def test_a_result_needs_a_place(
    tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "a.toml"
    config.write_text("")
    (tmp_path / "folder").mkdir()
    assert main(["release", str(config), "--json", str(tmp_path / target)]) == 2
    assert "got" in capsys.readouterr().err


def test_a_result_inside_the_bundle_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "a.edgetl"
    bundle.mkdir()
    assert main(["verify", str(bundle), "--json", str(bundle / "out.json")]) == 2
    assert "inside the input" in capsys.readouterr().err
    assert list(bundle.iterdir()) == []


def test_a_broken_config_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "a.toml"
    config.write_text("[data\n")
    assert main(["release", str(config), "--out", str(tmp_path / "run")]) == 2
    assert "line 1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_predicts_help_says_what_quiet_takes_away() -> None:
    said = " ".join(command_parsers(make_parser())["predict"].format_help().split())
    assert "--quiet prints nothing but errors" in said and "--json -" in said


def test_help_names_every_kind_of_data() -> None:
    told = set(re.findall(r"[a-z]+:\w+", arguments.SOURCES))
    assert told == set(sources.SOURCES) - {"builtin:letters"}
