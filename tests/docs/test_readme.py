"""The README's tour is executed, block by block, in the order in which a newcomer reads it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"```(bash|python)\n(.*?)```", re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall(README.read_text())


@pytest.mark.timeout(900)
def test_the_tour_runs_as_it_is_written(tmp_path: Path) -> None:
    for name in ("examples", "benchmarks"):
        (tmp_path / name).symlink_to(ROOT / name)
    # The commands as a newcomer has them: the environment's own, and an empty cache.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "EDGETL_CACHE": str(tmp_path / "cache")}
    script = ["set -euo pipefail"]
    for language, text in blocks():
        script.append(text if language == "bash" else f"python - <<'PYTHON'\n{text}PYTHON")
    run = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "verdict  PASS" in run.stdout
    assert "every byte is what the manifest says" in run.stdout
    assert "# FAIL" in run.stdout
    assert (tmp_path / "runs" / "digits" / "bundle" / "digits-1.0.0.edgetl").is_dir()


def test_every_path_the_readme_names_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text())
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_layout_map_names_every_room() -> None:
    text = README.read_text().split("## Where things are")[1]
    rooms = {path.name for path in (ROOT / "edgetl").iterdir() if (path / "__init__.py").exists()}
    assert [room for room in sorted(rooms) if f"{room}/" not in text] == []
