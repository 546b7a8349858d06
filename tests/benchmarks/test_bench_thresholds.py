"""The simulation of thresholds and sets runs on little, and its promise holds there already."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bench_thresholds.py"


def test_intervals_and_coverages_are_tabled(tmp_path: Path) -> None:
    out = tmp_path / "thresholds.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--simulations", "100", "--out", str(out)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    table = [line for line in done.stdout.splitlines() if not line.startswith("written to")]
    assert max(map(len, table)) <= 100
    document = json.loads(out.read_bytes())
    assert [(row["n"], row["keeps"]) for row in document["intervals"]] == [
        (n, keep) for n in (200, 500) for keep in ("acceptance", "precision")
    ]
    for row in document["intervals"]:
        # 95 %, less three standard errors of 100 releases.
        assert min(row["held"]) >= 0.88, row
    for row in document["coverages"]:
        assert abs(row["coverage"] - 0.9) < 0.02, row
        assert abs(row["cost"]) < 0.005, row
