"""The benchmark of the gate's speed runs on little, and says both times of every setting."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bench_gate_speed.py"


def test_every_setting_has_both_times(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--out", str(out)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_bytes())
    assert document["schema"] == "edgetl.gate-speed-bench/1"
    assert [row["classes"] for row in document["rows"]] == [4, 4]
    for row in document["rows"]:
        assert len(row["wall_s"]) == len(row["processor_s"]) == 1
        assert min(row["wall_s"] + row["processor_s"]) > 0
    assert "4, default" in done.stdout
