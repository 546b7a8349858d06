from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bench_training_step.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    out = tmp_path_factory.mktemp("bench") / "training-step.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--out", str(out)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_bytes()), done.stdout


@pytest.mark.slow
def test_each_network_is_measured_beside_the_bare_loop_and_judged(made) -> None:
    document, _ = made
    assert document["schema"] == "edgetl.training-step-bench/1"
    assert document["command"].startswith("python benchmarks/bench_training_step.py --quick")
    names = [row["work"] for row in document["rows"]]
    assert [name.split(",")[0] for name in names] == ["resnet18", "resnet18", "mlp"]
    for row in (*document["rows"], document["reading"]):
        (found,) = (value for value in row.values() if isinstance(value, dict))
        assert 0 < found["lower"] <= found["estimate"] <= found["upper"] < math.inf
        assert row["rounds"] >= 4
    for row in document["rows"]:
        assert row["kept"] == (row["edgetl_over_bare"]["upper"] <= document["most_over_bare"])
        assert row["edgetl_cores"] > 0 and row["bare_cores"] > 0


@pytest.mark.slow
def test_the_tables_fit_and_nothing_is_cut_off(made) -> None:
    document, said = made
    table = [line for line in said.splitlines() if not line.startswith("written to")]
    assert max(map(len, table)) <= 100
    assert "…" not in said
    assert all(row["work"] in said for row in document["rows"])
