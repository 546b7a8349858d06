"""The benchmarks run on little, and say what they found with its uncertainty."""

from __future__ import annotations

import ast
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgetl.bundle import BundleContent, ManifestVariant, write_bundle
from edgetl.spec import Precision, TensorInput, Variant

FOLDER = Path(__file__).parents[2] / "benchmarks"
NET = """
<ir_version: 10, opset_import: ["": 20]>
net (float[n, 8, 8] features) => (float[n, 64] probabilities) {
    flat = Flatten (features)
    probabilities = Softmax (flat)
}
"""
CANDIDATES = {"ort-fp32", "ort-int8", "ov-fp32", "ov-bf16", "ov-int8"}


def run(name: str, out: Path, *options: object) -> tuple[dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), "--quick", "--out", str(out)]
        + [str(option) for option in options],
        capture_output=True,
        text=True,
        cwd=out.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Where the data are, and so how wide that line is, is the test's own affair.
    table = [line for line in done.stdout.splitlines() if not line.startswith("written to")]
    assert max(map(len, table)) <= 100
    document = json.loads(out.read_bytes())
    assert document["command"].startswith(f"python benchmarks/{name}.py --quick --out")
    assert document["machine"]["packages"]["edgetl"]
    return document, done.stdout


def is_ratio(value: dict[str, float]) -> bool:
    return 0 < value["lower"] <= value["estimate"] <= value["upper"] < math.inf


@pytest.mark.slow
def test_the_matrix_has_every_candidate_beside_pytorch(tmp_path: Path) -> None:
    document, said = run("bench_matrix", tmp_path / "matrix.json")
    rows = document["rows"]
    assert {row["candidate"] for row in rows} == CANDIDATES
    base = rows[0]["fastest_fp32"]
    for row in rows:
        assert is_ratio(row["speed_over_pytorch"])
        assert row["rounds"] >= 4
        if row["candidate"] == base:
            assert row["speed_over_fp32"] is None
        else:
            assert is_ratio(row["speed_over_fp32"])
    # What was measured answers differently from input to input, and exported as it is.
    (network,) = document["networks"].values()
    assert network["probability_spread"] > 0.01
    assert network["probability_difference_of_export"] < 1e-4
    assert "random" in document["weights"]
    assert "than the best FP32" in said


@pytest.mark.slow
def test_footprints_come_from_fresh_processes(tmp_path: Path) -> None:
    document, said = run("bench_footprint", tmp_path / "footprint.json")
    rows = {row["side"]: row for row in document["rows"]}
    assert {"ort-fp32", "ov-fp32", "pytorch", "import edgetl", "import torch"} <= set(rows)
    for row in rows.values():
        peak = row["peak_rss_mb"]
        assert 0 < peak["least"] <= peak["median"] <= peak["most"]
    for name in ("ort-fp32", "ov-fp32"):
        assert is_ratio(rows[name]["cold_start_over_pytorch"])
        # The runtime's own share is part of the whole.
        assert rows[name]["load_ms"]["least"] < rows[name]["cold_start_ms"]["most"]
    memory = {name: row["peak_rss_mb"]["median"] for name, row in rows.items()}
    assert memory["import sys"] < memory["import numpy"] < memory["import torch"]
    assert memory["ort-fp32"] < memory["pytorch"]
    assert document["not_installed"] == []
    assert "peak memory, MiB" in said


def test_a_bundle_is_measured_without_a_reference(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(NET).SerializeToString()
    only = Variant(
        id="mine", backend="onnxruntime", precision=Precision.FP32, files=("models/net.onnx",)
    )
    content = BundleContent(
        name="mine",
        version="1",
        classes=tuple(map(str, range(64))),
        input=TensorInput(shape=(8, 8)),
        variants=(ManifestVariant(variant=only),),
        models={"models/net.onnx": model},
    )
    bundle = write_bundle(tmp_path, content)
    document, _ = run("bench_footprint", tmp_path / "footprint.json", "--bundle", bundle)
    sides = {row["side"] for row in document["rows"] if "cold_start_ms" in row}
    assert sides == {"mine"}
    assert all(row["cold_start_over_pytorch"] is None for row in document["rows"])


@pytest.mark.slow
def test_calls_are_compared_with_the_bare_runtime(tmp_path: Path) -> None:
    document, _ = run("bench_overhead", tmp_path / "overhead.json", "--parts", "calls")
    rows = document["calls"]
    assert {row["network"] for row in rows} == {"mlp", "resnet18"}
    assert {row["call"] for row in rows} == {"Backend.run", "Classifier.predict", "control"}
    assert all(is_ratio(row["ratio"]) for row in rows)
    for row in rows:
        added = row["added_microseconds"]
        assert added["lower"] <= added["estimate"] <= added["upper"]
    # Reading a picture cannot cost less than the call that it is read for.
    by_call = {
        (row["network"], row["candidate"], row["call"]): row["added_microseconds"]["estimate"]
        for row in rows
    }
    tiny = by_call["mlp", "ort-fp32", "Classifier.predict"]
    assert tiny > by_call["mlp", "ort-fp32", "Backend.run"]


def test_the_harness_is_asked_again_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    options = ("--log", log, "--disturb", "1")
    document, said = run("bench_harness_repeatability", tmp_path / "first.json", *options)
    kinds = ["equal", "slower by 15 %", "slower by 7 %"]
    assert [row["kind"] for row in document["rows"]] == kinds
    for row in document["rows"]:
        assert is_ratio({name: row[name] for name in ("estimate", "lower", "upper")})
        assert row["outcome"] in ("PASS", "FAIL", "INCONCLUSIVE")
        assert row["naive_calls"] > 0
    assert [one["comparisons"] for one in document["summary"]] == [1, 1, 1]
    assert "as many calls" in said
    # The last line is cut as a kill would: it alone is done again.
    whole = log.read_bytes()
    log.write_bytes(whole[:-30])
    document, _ = run("bench_harness_repeatability", tmp_path / "second.json", *options)
    assert sorted(row["kind"] for row in document["rows"]) == sorted(kinds)
    assert log.read_bytes().startswith(whole[:-30] + b"\n")


@pytest.mark.slow
def test_releases_are_compared_with_a_bare_script(tmp_path: Path) -> None:
    document, said = run("bench_overhead", tmp_path / "overhead.json", "--parts", "release")
    release = document["release"]
    assert is_ratio(release["wall_ratio"]) and is_ratio(release["cpu_ratio"])
    assert {side: len(runs) for side, runs in release["runs"].items()} == {"edgetl": 2, "bare": 2}
    assert sum(release["shares"].values()) == pytest.approx(1)
    assert {"data", "export", "bench", "gate", "processes"} <= set(release["shares"])
    assert "wall time" in said


@pytest.mark.slow
def test_the_gate_is_compared_with_its_inferences(tmp_path: Path) -> None:
    document, said = run("bench_gate_scratch", tmp_path / "scratch.json")
    assert is_ratio(document["ratio"])
    assert {side: len(found) for side, found in document["seconds"].items()} == {
        "gate": 2,
        "inference": 2,
    }
    # The smallest release: a process and its imports take longer than its inferences.
    assert document["ratio"]["estimate"] > 1
    assert "the gate over its inferences" in said


def test_the_bare_script_uses_nothing_of_edgetl() -> None:
    tree = ast.parse((FOLDER / "bare_release.py").read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None), *(alias.name for alias in node.names)]
    }
    assert not any(name and name.split(".")[0] == "edgetl" for name in imported)
    assert {"torch", "onnxruntime", "openvino"} <= imported


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_each_script_says_which_question_it_answers(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring is not None
    if path.stem.startswith("bench_"):
        assert "?" in docstring.splitlines()[0]
        assert "--out" in docstring
