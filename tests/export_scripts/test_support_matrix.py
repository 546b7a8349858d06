"""The support matrix is made by its script, and says what is no evidence."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "export"
CANDIDATES = ["ort-fp32", "ort-int8", "ov-fp32", "ov-bf16", "ov-int8"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    spec = importlib.util.spec_from_file_location("support_matrix", FOLDER / "support_matrix.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["support_matrix"] = module
    spec.loader.exec_module(module)
    sys.path.remove(str(FOLDER))
    return module


def test_the_quick_matrix_has_a_judged_line_for_each_architecture(tmp_path: Path) -> None:
    out, data = tmp_path / "matrix.md", tmp_path / "matrix.json"
    command = [sys.executable, str(FOLDER / "support_matrix.py"), "--quick", "--threads", "1"]
    done = subprocess.run(
        [*command, "--out", str(out), "--json", str(data)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(data.read_text())
    assert [row["architecture"] for row in rows] == ["mlp", "shufflenet_v2_x1_0", "resnet18"]
    for row in rows:
        assert row["is_evidence"] and row["difference"] < 1e-4
        assert list(row["cells"]) == CANDIDATES
        # 120 digits pass nothing and fail only what is plainly wrong.
        assert row["cells"]["ort-fp32"] == row["cells"]["ov-fp32"] == "INCONCLUSIVE"
        assert row["harms"]["ort-fp32"]["flips"] == 0
    page = out.read_text()
    assert "support_matrix.py --quick" in page and "No evidence" not in page
    assert sum(line.startswith("|") for line in page.splitlines()) == 2 + len(rows)


def test_what_shows_nothing_or_failed_is_said(script: ModuleType) -> None:
    flat = script.Row(architecture="flat", side=32, top1=0.9, spread=0.01, difference=0.0)
    lost = script.Row(architecture="lost", side=32, top1=0.2, spread=0.5, difference=0.0)
    good = script.Row(architecture="good", side=32, top1=0.9, spread=0.5, difference=0.0)
    broken = script.Row(architecture="broken", side=32, problem="export: got nothing")
    assert [row.is_evidence for row in (flat, lost, good, broken)] == [False, False, True, False]
    for row in (flat, lost, good):
        row.cells = dict.fromkeys(CANDIDATES, "PASS")
    good.cells["ov-bf16"] = "did not run: no such precision"
    page = script.markdown([flat, lost, good, broken], script.LITTLE, "command")
    assert "at most 0.5): flat, lost." in page
    assert "| good | 32 | 0.900 | 0.50 | 0e+00 | PASS | PASS | PASS | did not run | PASS |" in page
    assert "- good, ov-bf16: did not run: no such precision" in page
    assert "- broken: export: got nothing" in page
