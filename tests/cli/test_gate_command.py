from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

from edgetl.cli.main import main
from edgetl.gate import Predictions
from tests.pipeline.helpers.colours import write_pictures, write_release

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
POLICY = "max_accuracy_drop = 0.05\nmax_nll_increase = 0.05\nmax_log_temperature_ratio = 0.4\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Two releases, one that is worse, pictures, and a policy."""
    folder = tmp_path_factory.mktemp("made")
    write_release(folder, "1.0")
    write_release(folder, "1.1", sharpness=0.0501)
    write_release(folder, "1.2", tilt=0.06)
    write_pictures(folder / "photos", 400)
    write_pictures(folder / "roll", 1500, labelled=False)
    (folder / "policy.toml").write_text(POLICY)
    return folder


@pytest.fixture(autouse=True)
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)


def bundles(new: str = "1.1") -> list[str]:
    return ["gate", "--bundles", "colours-1.0.edgetl", f"colours-{new}.edgetl"]


def results(folder: Path) -> list[str]:
    names = {"json": "v.json", "junit": "v.xml", "markdown": "v.md"}
    return [text for name, file in names.items() for text in (f"--{name}", str(folder / file))]


@pytest.mark.parametrize(("new", "code"), [("1.1", 0), ("1.2", 1)])
def test_two_bundles_are_judged(tmp_path, capsys, new, code):
    command = [*bundles(new), "--data", "folder:photos", "--policy", "policy.toml"]
    assert main([*command, *results(tmp_path)]) == code
    assert capsys.readouterr().out == (tmp_path / "v.md").read_text()
    document = json.loads((tmp_path / "v.json").read_bytes())
    jsonschema.validate(document, json.loads((SCHEMAS / "verdict-1.json").read_text()))
    assert document["verdict"] == ("PASS", "FAIL")[code]
    assert document["data"]["n"] == 400
    assert ElementTree.parse(tmp_path / "v.xml").getroot().tag == "testsuites"


@pytest.mark.parametrize(("new", "code"), [("1.1", 0), ("1.2", 1)])
def test_two_bundles_are_certified(tmp_path, capsys, new, code):
    assert main([*bundles(new), "--unlabelled", "roll", *results(tmp_path)]) == code
    assert capsys.readouterr().out == (tmp_path / "v.md").read_text()
    document = json.loads((tmp_path / "v.json").read_bytes())
    jsonschema.validate(document, json.loads((SCHEMAS / "certificate-1.json").read_text()))
    assert document["variants"][0]["id"] == f"colours-{new} ort-fp32"


def test_the_working_folder_is_a_folder_of_inputs(made, monkeypatch, tmp_path):
    monkeypatch.chdir(made / "roll")
    names = [str(made / f"colours-{version}.edgetl") for version in ("1.0", "1.1")]
    command = ["gate", "--bundles", *names, "--unlabelled", ".", "--json", str(tmp_path / "v.json")]
    assert main([*command, "--quiet"]) == 0
    assert json.loads((tmp_path / "v.json").read_bytes())["data"]["name"] == "unlabelled:roll"


def test_predictions_are_certified_only_when_asked(tmp_path, capsys):
    ids = [str(index) for index in range(2000)]
    answers = np.tile([0.8, 0.2], (2000, 1))
    stored = str(tmp_path / "a.npz")
    Predictions(probabilities=answers, ids=ids).save(stored)
    command = ["gate", "--predictions", stored, stored]
    assert main(command) == 2
    shown = capsys.readouterr().err
    assert "no labels" in shown and "--unlabelled" in shown
    assert main([*command, "--unlabelled", "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["verdict"]) == ("edgetl.certificate/1", "PASS")


def test_annotations_are_the_lines_beside_the_verdict(capsys):
    command = [*bundles("1.2"), "--unlabelled", "roll", "--annotations", "github"]
    assert main([*command, "--quiet"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines and all(line.startswith("::error title=edgetl ") for line in lines)
    assert lines[0].startswith("::error title=edgetl FAIL%3A colours-1.2 ort-fp32 flips::flips 0.")
    assert main(command) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("# FAIL") and shown.splitlines()[-len(lines) :] == lines
    assert main([*command[:-1], "none", "--quiet"]) == 1
    assert capsys.readouterr().out == ""


def test_a_release_has_annotations_too(tiny_release, tmp_path, capsys):
    command = ["gate", str(tiny_release.config), "--out", str(tiny_release.folder), "--quiet"]
    assert main([*command, "--annotations", "github"]) == tiny_release.result.exit_code
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("::error ") for line in lines)
    assert bool(lines) == bool(tiny_release.result.exit_code)


def test_a_run_is_certified(tiny_release, tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for number in range(40):
        values = random.random((8, 8)).astype(np.float32)
        np.save(tmp_path / "in" / f"{number}.npy", values)
    command = ["gate", str(tiny_release.config), "--out", str(tiny_release.folder)]
    code = main([*command, "--unlabelled", str(tmp_path / "in"), *results(tmp_path), "--quiet"])
    document = json.loads((tmp_path / "v.json").read_bytes())
    assert code == {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 4}[document["verdict"]]
    assert len(document["variants"]) == 2


def test_results_inside_a_bundle_or_over_an_input_are_refused(made, capsys):
    command = [*bundles(), "--unlabelled", "roll", "--force"]
    inside = made / "colours-1.1.edgetl" / "v.json"
    assert main([*command, "--json", str(inside)]) == 2
    assert "inside the input" in capsys.readouterr().err and not inside.exists()
    before = (made / "policy.toml").read_text()
    assert main([*command, "--policy", "policy.toml", "--markdown", "policy.toml"]) == 2
    assert (made / "policy.toml").read_text() == before


@pytest.mark.parametrize(
    "arguments",
    [
        [*bundles(), "--data", "folder:photos"],
        [*bundles(), "--unlabelled", "roll"],
        ["gate", "plan"],
    ],
)
def test_none_of_it_loads_torch(made, arguments):
    code = (
        "import sys; from edgetl.cli.main import main\n"
        f"main({[*arguments, '--quiet']!r})\n"
        "print('torch' in sys.modules, 'rich' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=made, check=True
    )
    assert done.stdout.split()[0] == "False"
