"""The action's and the GitLab job's own commands, run as a runner runs them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from edgetl.cli.main import main
from edgetl.cli.parser import make_parser
from edgetl.gate import Predictions

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step.get("name", step.get("uses")): step for step in ACTION["runs"]["steps"]}
BLOCKS = [
    yaml.safe_load(text)
    for text in re.findall(
        r"^```yaml\n(.*?)^```", (ROOT / "docs" / "ci.md").read_text(), re.DOTALL | re.MULTILINE
    )
]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a step left behind."""

    code: int
    out: str
    error: str
    summary: str
    outputs: dict[str, str]
    folder: Path

    def results(self, name: str = "edgetl-gate") -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / name / "verdict.json").read_bytes())
        return document


def clean(folder: Path) -> dict[str, str]:
    """An environment with nothing of ours but the interpreter."""
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
    }


def judge(folder: Path, arguments: str, results: str = "edgetl-gate") -> Ran:
    """Run the action's step as a runner does: its inputs as variables, in a shell of its own."""
    step = STEPS["Judge"]
    inputs = {"arguments": arguments, "results": results}
    values = {
        name: re.sub(r"\$\{\{ inputs\.(\S+) \}\}", lambda found: inputs[found[1]], text)
        for name, text in step["env"].items()
    }
    summary, outputs = folder / "summary.md", folder / "outputs"
    summary.write_text("before\n")
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=folder,
        env=clean(folder)
        | values
        | {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(outputs)},
        capture_output=True,
        text=True,
        check=False,
    )
    pairs = (line.partition("=") for line in outputs.read_text().splitlines())
    return Ran(
        code=done.returncode,
        out=done.stdout,
        error=done.stderr,
        summary=summary.read_text(),
        outputs={name: value for name, _, value in pairs},
        folder=folder,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with stored predictions: of a reference, and of candidates good and bad."""
    labels = np.arange(2000) % 2
    right = np.full((2000, 2), 0.05) + 0.9 * np.eye(2)[labels]
    right[::10] = right[::10, ::-1]
    bad = right.copy()
    bad[5::20] = bad[5::20, ::-1]
    (tmp_path / "predictions").mkdir()
    for name, answers, n in (
        ("reference", right, 2000),
        ("candidate", right, 2000),
        ("a bad one", bad, 2000),
        ("few-reference", right, 120),
        ("few", right, 120),
    ):
        predictions = Predictions(
            labels=labels[:n],
            probabilities=answers[:n],
            ids=[str(index) for index in range(n)],
            classes=["cat\n::error::x", "dog"],
        )
        predictions.save(tmp_path / "predictions" / f"{name}.npz")
    (tmp_path / "policy.toml").write_text("max_accuracy_drop = 0.02\n")
    return tmp_path


def lines(*names: str) -> str:
    return "\n".join(["--predictions", *(f"predictions/{name}.npz" for name in names)])


def test_a_pass_writes_the_summary_and_no_annotation(repository):
    ran = judge(repository, lines("reference", "candidate") + "\n--policy\npolicy.toml\n")
    assert ran.code == 0, ran.error
    assert ran.out == ""
    assert ran.outputs == {"verdict": "PASS"}
    assert ran.summary.startswith("before\n# PASS")
    assert ran.results()["policy"]["max_accuracy_drop"] == 0.02
    assert ElementTree.parse(repository / "edgetl-gate" / "verdict.xml").getroot() is not None


def test_a_fail_stops_the_job_and_annotates_each_gate(repository):
    ran = judge(repository, lines("reference", "a bad one"))
    assert (ran.code, ran.outputs["verdict"]) == (1, "FAIL")
    assert "# FAIL" in ran.summary
    failed = [
        gate["name"] for gate in ran.results()["variants"][0]["gates"] if gate["verdict"] == "FAIL"
    ]
    annotated = [line for line in ran.out.splitlines() if "title=edgetl FAIL%3A" in line]
    assert len(annotated) == len(failed) >= 2
    for name, line in zip(failed, annotated, strict=True):
        assert re.fullmatch(
            rf"::error title=edgetl FAIL%3A a bad one {name}::{name} [\d.]+, at least [\d.]+, "
            r"limit [\d.]+; n 2000.*",
            line,
        )


def test_an_inconclusive_stops_the_job_and_says_how_many_more(repository):
    ran = judge(repository, lines("few-reference", "few"))
    assert (ran.code, ran.outputs["verdict"]) == (4, "INCONCLUSIVE")
    assert "more labelled inputs would decide it" in ran.out


@pytest.mark.parametrize("left_over", [False, True])
def test_what_cannot_be_judged_is_an_error_and_no_old_verdict(repository, left_over):
    if left_over:
        judge(repository, lines("reference", "candidate"))
        (repository / "outputs").unlink()
    ran = judge(repository, lines("reference", "nothing"))
    assert (ran.code, ran.outputs["verdict"]) == (2, "ERROR")
    assert ran.out.startswith("::error title=edgetl gate::")
    assert "nothing there" in ran.error
    assert ran.summary == "before\n"


def test_a_job_is_not_green_for_a_gate_that_did_not_run(repository):
    ran = judge(repository, "--help")
    assert (ran.code, ran.outputs["verdict"]) == (2, "ERROR")
    assert "nothing was judged" in ran.out


def test_an_interpreter_that_cannot_start_is_no_fail(repository, monkeypatch):
    shim = repository / "python"
    shim.write_text("#!/bin/sh\necho 'No module named edgetl' >&2\nexit 1\n")
    shim.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(shim))
    ran = judge(repository, lines("reference", "candidate"))
    assert (ran.code, ran.outputs["verdict"]) == (1, "ERROR")


def test_arguments_are_words_and_never_a_script(repository):
    hostile = (
        lines("reference", "candidate").replace("\n", "\r\n") + "\n\n$(touch x)`touch y`; touch z"
    )
    ran = judge(repository, hostile)
    assert ran.code == 2
    assert not {"x", "y", "z"} & {path.name for path in repository.iterdir()}
    assert judge(repository, lines("reference", "a bad one"), results="to here").code == 1
    assert (repository / "to here" / "verdict.md").is_file()


def test_a_module_of_the_repository_is_not_taken_for_ours(repository):
    (repository / "numpy.py").write_text("raise SystemExit('taken')")
    assert judge(repository, lines("reference", "candidate")).code == 0


def test_no_input_is_put_into_a_script():
    scripts = [step["run"] for step in STEPS.values() if "run" in step]
    assert len(scripts) == 2
    for script in scripts:
        assert "${{" not in script
    used = set(re.findall(r"inputs\.([a-z-]+)", (ROOT / "action.yml").read_text()))
    assert used == set(ACTION["inputs"])
    assert ACTION["outputs"]["verdict"]["value"] == "${{ steps.gate.outputs.verdict }}"
    assert STEPS["Judge"]["id"] == "gate"
    assert ACTION["inputs"]["extras"]["default"] == "gate"


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"EXTRAS": "gate,cpu", "REQUIREMENT": ""}, "edgetl[gate,cpu] @ file:///an action"),
        ({"EXTRAS": "gate", "REQUIREMENT": "edgetl[gate]==1.0"}, "edgetl[gate]==1.0"),
    ],
)
def test_what_the_first_step_installs(tmp_path, variables, wanted):
    """With a python that only writes down what it was asked; the real one is in tests/packaging."""
    shim = tmp_path / "python"
    shim.write_text('#!/bin/sh\nfor one in "$@"; do printf "%s\\n" "$one"; done\n')
    shim.chmod(0o755)
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS["Install edgetl"]["run"]],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "GITHUB_ACTION_PATH": "/an action"} | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    asked = done.stdout.splitlines()
    assert asked[:3] == ["-m", "pip", "install"] and asked[-1] == wanted


def test_the_documented_github_job_uses_the_action_as_it_is(repository):
    (workflow,) = (block for block in BLOCKS if "jobs" in block)
    (step,) = (
        step for step in workflow["jobs"]["gate"]["steps"] if "edgetl" in step.get("uses", "")
    )
    assert set(step["with"]) <= set(ACTION["inputs"])
    assert judge(repository, step["with"]["arguments"]).code == 0


def test_the_documented_gitlab_job_runs(repository):
    (job,) = (block["gate"] for block in BLOCKS if isinstance(block.get("gate"), dict))
    install, *script = job["script"]
    assert install == 'python -m pip install --quiet "edgetl[gate]"'
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", "\n".join(script)],
        cwd=repository,
        env=clean(repository),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# PASS")
    assert (repository / job["artifacts"]["reports"]["junit"]).is_file()
    (kept,) = job["artifacts"]["paths"]
    assert {path.name for path in (repository / kept).iterdir()} == {
        *("verdict.json", "verdict.xml", "verdict.md")
    }


def test_every_documented_gate_command_parses_and_its_numbers_are_right(capsys):
    said = {}
    for page in ("ci.md", "unlabelled.md"):
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL):
            for line in block.splitlines():
                command, _, comment = line.partition("#")
                program, *arguments = shlex.split(command)
                assert program == "edgetl"
                make_parser().parse_args(arguments)
                said[tuple(arguments)] = comment
    assert len(said) == 6
    (arguments,) = (one for one in said if "--margin" in one)
    assert main([*arguments, "--json", "-"]) == 0
    plans = json.loads(capsys.readouterr().out)["plans"]
    numbers = [plan["gates"][0]["n"] for plan in plans]
    assert said[arguments] == f" {', '.join(map(str, numbers))} for top1_drop"
