from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from edgetl.bench.result import BenchResult
from edgetl.cli.bench_parser import positive_number
from edgetl.cli.main import main

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def _bench(release, *more: str) -> list[str]:
    return ["bench", str(release.config), "--out", str(release.folder), *more]


def _valid(document: dict, name: str) -> None:
    jsonschema.validate(document, json.loads((SCHEMAS / name).read_text()))


def test_a_release_is_measured_shown_and_stored(tiny_release, tmp_path, capsys):
    file = tmp_path / "before.json"
    assert main(_bench(tiny_release, "--save", str(file), "--json", str(tmp_path / "j.json"))) == 0
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines() if "warning" not in line) <= 100
    for name in ("reference", "ov-fp32", "cold start", "control", "p99 ≤"):
        assert name in shown
    _valid(json.loads(file.read_bytes()), "bench-1.json")
    _valid(json.loads((tmp_path / "j.json").read_bytes()), "bench-1.json")
    stored = BenchResult.load(file)
    assert len(stored.reference_id) == 64
    assert {cell.samples.partition(".")[0] for cell in stored.cells} == {"before"}


def test_a_baseline_against_itself_is_not_slower(tiny_release, tmp_path, capsys):
    file = tmp_path / "before.json"
    assert main(_bench(tiny_release, "--save", str(file), "--quiet")) == 0
    assert capsys.readouterr().out == ""
    # Few rounds on a machine that runs tests: as if it had been a quiet one.
    document = json.loads(file.read_bytes())
    document["machine"] |= {"others_share": 0.0, "steal_share": 0.0}
    document["control"] = None
    file.write_text(json.dumps(document))
    compare = ["bench", "--compare", str(file), str(file)]
    assert main([*compare, "--margin", "1e6"]) == 0
    shown = capsys.readouterr().out
    assert "verdict  PASS" in shown
    assert "different times" in shown
    code = main([*compare, "--margin", "1e-9", "--json", "-"])
    document = json.loads(capsys.readouterr().out)
    assert (code, document["verdict"]) == (4, "INCONCLUSIVE")
    _valid(document, "bench-comparison-1.json")


def test_two_bundles_are_measured_side_by_side(tiny_release, capsys):
    bundle = str(tiny_release.result.bundle)
    command = ["bench", "--compare", bundle, bundle, "--threads", "1", "--seconds", "2"]
    assert main([*command, "--margin", "100", "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    _valid(document, "bench-comparison-1.json")
    assert (document["method"], document["verdict"]) == ("interleaved", "PASS")
    assert document["compared"][0]["ratio"]["lower"] > 0.1
    assert "the old one beside itself" in document["notes"][0]
    assert "equal within the margin" in document["notes"][0]


@pytest.mark.parametrize("scenario", ["single-stream", "server", "offline"])
def test_candidates_are_put_under_load(tiny_release, scenario, capsys):
    command = _bench(tiny_release, "--scenario", scenario, "--seconds", "0.1")
    assert main([*command, "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    _valid(document, "bench-1.json")
    assert {cell["scenario"] for cell in document["cells"]} == {f"loadgen-{scenario}"}
    assert len(document["cells"]) >= 2


def test_the_harness_itself_under_load(capsys):
    command = ["bench", "--null", "--scenario", "server", "--qps", "200", "--seconds", "0.1"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "null" in shown
    assert "200" in shown
    assert "asked/s" in shown


def test_a_dry_run_measures_nothing(tiny_release, capsys):
    assert main(_bench(tiny_release, "--dry-run", "--scenario", "server")) == 0
    assert "compile" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "CONFIG, --null and --compare"),
        (["a.toml", "--null"], "CONFIG, --null and --compare"),
        (["a.toml", "--compare", "a", "b"], "CONFIG, --null and --compare"),
        (["a.toml", "--margin", "0.1"], "--margin"),
        (["a.toml", "--qps", "3"], "--scenario server"),
        (["a.toml", "--scenario", "offline", "--qps", "3"], "--scenario server"),
        (["a.toml", "--seconds", "3"], "--seconds"),
        (["a.toml", "--scenario", "sever"], "did you mean 'server'"),
        (["a.toml", "--scenario", "server", "--qps", "0"], "above 0"),
        (["a.toml", "--scenario", "server", "--qps", "nan"], "above 0"),
        (["--null", "--seconds", "3"], "--seconds"),
        (["--null", "--out", "x"], "--out"),
        (["--compare", "a.json", "b.json", "--margin", "-1"], "above 0"),
        (["--compare", "a.json", "b.json", "--margin", "inf"], "above 0"),
        (["--compare", "a.json", "b.json", "--variant", "x"], "--variant"),
        (["--compare", "a.json", "b.json", "--save", "c.json"], "--save"),
        (["--compare", "a.json", "b.edgetl"], "two of a kind"),
        (["--compare", "a.json", "b.json"], "nothing there"),
        (["--compare", "a.json"], "expected 2 arguments"),
        (["missing.toml"], "nothing there"),
        (["missing.toml", "--scenario", "server"], "nothing there"),
    ],
)
def test_what_makes_no_sense_is_one_message(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.count("edgetl:") == 1
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_exists_is_not_overwritten(tmp_path, capsys):
    file = tmp_path / "null.json"
    file.write_text("mine")
    assert main(["bench", "--null", "--save", str(file)]) == 2
    assert "add --force" in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_samples_that_outlived_their_result_are_not_overwritten(tmp_path, capsys):
    left = tmp_path / "null.batch1.npz"
    left.write_text("mine")
    assert main(["bench", "--null", "--save", str(tmp_path / "null.json")]) == 2
    assert "the samples of another result" in capsys.readouterr().err
    assert left.read_text() == "mine"


def test_what_is_no_stored_result_is_refused(tmp_path, capsys):
    file = tmp_path / "a.json"
    file.write_text("{}")
    assert main(["bench", "--compare", str(file), str(file)]) == 2
    assert "edgetl bench" in capsys.readouterr().err


def test_numbers_above_zero():
    assert positive_number("5e-2") == 0.05
