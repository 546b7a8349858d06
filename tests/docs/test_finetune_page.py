"""The blocks of docs/finetune.md run as they stand, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgetl.pipeline.recipe_choice import FEW, MANY, SOME, UNEVEN

PAGE = (Path(__file__).parents[2] / "docs" / "finetune.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
def test_the_page_runs_as_written(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(BLOCKS)],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "EDGETL_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert (tmp_path / "digits-tuned.toml").is_file() and "2 processes" in run.stderr


def test_the_rules_are_those_of_the_code() -> None:
    assert f"The limits {FEW}, {SOME}, {MANY:,} and {UNEVEN:g} are rules of thumb" in PAGE
    assert f"below {FEW} training samples" in PAGE and f"| {MANY:,} or more |" in PAGE
