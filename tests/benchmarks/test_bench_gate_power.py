"""Simulated releases are what they are said to be, and the benchmark of the gate counts them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgetl.metrics import nll, top1

FOLDER = Path(__file__).parents[2] / "benchmarks"
GATES = {
    "top1_drop",
    "nll",
    "brier",
    "confidence_gap",
    "log_temperature_ratio",
    "flips",
    "worst_class",
    "slice",
}


@pytest.fixture(scope="module")
def releases() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "simulated_releases", FOLDER / "simulated_releases.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_references_are_calibrated_or_not_as_their_names_say(releases: ModuleType) -> None:
    for name, (_, _, sharpness) in releases.REFERENCES.items():
        base = releases.population(name, 20_000)
        assert top1(base.probabilities, base.labels) == pytest.approx(
            float(name.split(" %")[0]) / 100, abs=0.015
        )
        surplus = base.probabilities.max(axis=1).mean() - top1(base.probabilities, base.labels)
        assert (abs(surplus) < 0.01) == (sharpness == 1.0) == ("overconfident" not in name)


@pytest.mark.parametrize("gate", sorted(GATES))
def test_a_candidate_on_the_margin_harms_as_much_as_the_limit(
    releases: ModuleType, gate: str
) -> None:
    base = releases.population("86 %, calibrated", 5000)
    found = releases.on_the_margin(gate, base, "noise", 0.02)
    assert found is not None
    candidate, strength, harm = found
    assert strength > 0
    # A class of the population has about 500 images.
    assert harm == pytest.approx(0.02, abs=2.1 / 500)
    assert harm == releases.true_harm(gate, base, candidate)
    untouched = (candidate == base.probabilities).all(axis=1)
    if gate == "slice":
        assert (untouched == ~base.in_slice).all()
    elif gate == "worst_class":
        assert (untouched == (base.labels != 0)).all()
    else:
        assert not untouched.any()


def test_what_cannot_harm_so_is_not_simulated(releases: ModuleType) -> None:
    base = releases.population("98 %, calibrated", 2000)
    assert releases.on_the_margin("brier", base, "sharper", 0.5) is None


def test_a_softer_candidate_is_on_the_other_side(releases: ModuleType) -> None:
    base = releases.population("86 %, calibrated", 5000)
    for gate in ("confidence_gap", "log_temperature_ratio"):
        found = releases.on_the_margin(gate, base, "softer", 0.01)
        assert found is not None
        assert found[2] == pytest.approx(-0.01, abs=1e-4)


def test_an_equal_pair_differs_by_nothing(releases: ModuleType) -> None:
    base, candidate = releases.equal_pair(releases.population("86 %, calibrated", 4000), 0.01)
    assert top1(candidate, base.labels) == top1(base.probabilities, base.labels)
    assert nll(candidate, base.labels) == pytest.approx(nll(base.probabilities, base.labels))
    changed = candidate.argmax(axis=1) != base.probabilities.argmax(axis=1)
    assert np.mean(changed) == pytest.approx(0.01, abs=0.002)


def test_it_counts_every_gate_and_writes_the_tables(tmp_path: Path) -> None:
    out, markdown = tmp_path / "power.json", tmp_path / "power.md"
    options = ["--quick", "--simulations", "8", "--out", str(out), "--markdown", str(markdown)]
    done = subprocess.run(
        [sys.executable, str(FOLDER / "bench_gate_power.py"), *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if not line.startswith("written to")]
    assert max(map(len, said)) <= 100
    assert markdown.read_text(encoding="utf-8").strip() in done.stdout
    document = json.loads(out.read_bytes())
    assert document["schema"] == "edgetl.gate-power/1"
    rows = document["on_the_margin"]
    assert {row["gate"] for row in rows} == GATES
    for row in rows:
        assert 0 <= row["passed"] <= row["releases"] <= 8
        assert row["limit"] == pytest.approx(document["limits"][row["gate"]], abs=0.01)
        student = row["passed_by_student_t"]
        assert (student is not None) == (row["gate"] in {"nll", "brier"})
        # No bound of ours is closer than Student's.
        assert student is None or row["passed"] <= student
    equal = {row["gate"]: row for row in document["equal"]}
    assert set(equal) == GATES - {"worst_class", "slice"} | {"all gates"}
    assert equal["all gates"]["n"] >= max(row["n"] for row in equal.values())
    assert set(document["kept"]) == {"on_the_margin", "equal"}
