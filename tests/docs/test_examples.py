"""Every example runs as its README says, to a verdict of PASS."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SECTION = re.compile(r"^## (.+?)$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
SECTIONS = dict(SECTION.findall((EXAMPLES / "README.md").read_text()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is kept, so that nothing an earlier run made is found."""
    made = ("photos", "runs", "__pycache__", "*.safetensors", "*.onnx", "*.npz")
    copy = tmp_path_factory.mktemp("examples") / "examples"
    return Path(shutil.copytree(EXAMPLES, copy, ignore=shutil.ignore_patterns(*made)))


def test_every_folder_has_its_section() -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()} - {"runs"}
    named = set(re.findall(r"\]\((\w+)\)", (EXAMPLES / "README.md").read_text()))
    assert folders == named and len(SECTIONS) == len(folders)
    assert LONG.issubset(SECTIONS)


# These train for half a minute or more; the default suite has one of each kind elsewhere.
LONG = {
    "A folder of pictures and a network of your own",
    "A model of timm's",
    "Windows of a sensor",
}


@pytest.mark.parametrize(
    "section",
    [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in SECTIONS],
)
def test_an_example_runs_as_written(section: str, folder: Path) -> None:
    (block,) = BLOCK.findall(SECTIONS[section])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env=os.environ | {"PATH": path, "EDGETL_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "verdict  PASS" in run.stdout
    reports = re.findall(r"^report +(\S+)$", run.stdout, re.MULTILINE)
    assert len(reports) == 1 and (folder / reports[0]).is_file()
