"""The benchmark of wrong labels runs on little, and its figures fit together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bench_wrong_labels.py"


def test_it_says_how_many_moved_labels_are_found(tmp_path: Path) -> None:
    out = tmp_path / "wrong.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--out", str(out)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1,000 digits, 12 epochs" in done.stdout
    document = json.loads(out.read_bytes())
    assert document["schema"] == "edgetl.wrong-labels-bench/1"
    (row,) = document["rows"]
    (found,) = row["found"]
    assert found["moved"] == 50
    hits = found["recall"] * found["moved"]
    assert hits == pytest.approx(found["precision"] * found["named"])
    assert found["recall"] > 0.8 and found["precision"] > 0.8
