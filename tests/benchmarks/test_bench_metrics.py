from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgetl import metrics

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bench_metrics.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench") / "metrics.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--out", str(out)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_bytes()), done.stdout


def test_every_public_metric_is_measured_in_both_types(made):
    document, _ = made
    assert document["schema"] == "edgetl.metrics-bench/1"
    assert document["command"].startswith("python benchmarks/bench_metrics.py --quick --out")
    public = set(metrics.__all__) - {"BrierDecomposition"}
    for dtype in ("float32", "float64"):
        names = [row["metric"] for row in document["rows"] if row["dtype"] == dtype]
        assert {name.partition(",")[0] for name in names} == public
        assert len(names) == len(set(names))


def test_ratios_have_intervals_and_the_aims_are_judged(made):
    document, _ = made
    for row in document["rows"]:
        found = row["time_over_log_loss"]
        assert 0 < found["lower"] <= found["estimate"] <= found["upper"] < math.inf
        assert row["rounds"] >= 4
        assert row["time_kept"] == (found["upper"] <= document["most_time_over_log_loss"])
        assert row["memory_over_input"] > 0
        assert row["memory_kept"] == (row["memory_over_input"] <= 2)


def test_the_table_fits_and_says_what_exceeds(made):
    _, said = made
    table = [line for line in said.splitlines() if not line.startswith("written to")]
    assert max(map(len, table)) <= 100
    assert said.count("not shown to be within") == 2
