"""The action as a runner uses it: its own steps, in an environment that had nothing of edgetl."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
SCRIPTS = {step["name"]: step["run"] for step in ACTION["runs"]["steps"] if "run" in step}


@pytest.mark.slow
def test_the_wheel_is_installed_and_judges(wheel, constraints, predictions, tmp_path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "bare"], check=True)
    summary, outputs = tmp_path / "summary.md", tmp_path / "outputs"
    variables = {
        "PATH": f"{tmp_path / 'bare' / 'bin'}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "OMP_NUM_THREADS": "1",
        "PIP_CONSTRAINT": str(constraints),
        "GITHUB_ACTION_PATH": str(ROOT),
        "GITHUB_STEP_SUMMARY": str(summary),
        "GITHUB_OUTPUT": str(outputs),
        "EXTRAS": ACTION["inputs"]["extras"]["default"],
        "REQUIREMENT": f"edgetl[gate] @ {wheel.as_uri()}",
        "RESULTS": "edgetl-gate",
    }
    # Where pip finds packages here is not the action's business.
    variables |= {name: os.environ[name] for name in os.environ if name.startswith("PIP_")} | {
        "PIP_CONSTRAINT": str(constraints)
    }

    def step(name: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", SCRIPTS[name]],
            cwd=tmp_path,
            env=variables | more,
            capture_output=True,
            text=True,
            check=False,
        )

    installed = step("Install edgetl")
    assert installed.returncode == 0, installed.stderr
    reference, wrong = predictions
    good = step("Judge", ARGUMENTS=f"--predictions\n{reference}\n{reference}")
    assert good.returncode == 0, good.stderr
    bad = step("Judge", ARGUMENTS=f"--predictions\n{reference}\n{wrong}")
    assert bad.returncode == 1, bad.stderr
    assert bad.stdout.startswith("::error title=edgetl FAIL%3A wrong ")
    assert summary.read_text().count("\n# FAIL") == 1
    assert outputs.read_text() == "verdict=PASS\nverdict=FAIL\n"
