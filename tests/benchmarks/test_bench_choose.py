from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bench_choose.py"


@pytest.mark.slow
def test_it_scores_and_fine_tunes_every_backbone_and_says_how_far_they_agree(
    tmp_path: Path,
) -> None:
    out = tmp_path / "choose.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--data", "builtin:digits", "--out", str(out)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "EDGETL_CACHE": str(tmp_path / "cache")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 100
    document = json.loads(out.read_bytes())
    rows = document["rows"]
    assert len(rows) == 4 and {row["seed"] for row in rows} == {0, 1}
    for name, sign in (("logme", 1), ("probe_nll", -1), ("probe_top1", 1)):
        found = document["agreement"][name]
        for seed in (0, 1):
            mine = [row for row in rows if row["seed"] == seed]
            told = [sign * row[name] for row in mine]
            true = [row["finetuned_top1"] for row in mine]
            tau = float(np.nan_to_num(kendalltau(told, true).statistic))
            assert found["tau"]["each"][seed] == tau
            assert found["regret"]["each"][seed] == max(true) - true[int(np.argmax(told))]
