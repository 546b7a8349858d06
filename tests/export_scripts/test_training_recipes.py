"""The five recipes of transfer learning run on little and end with a verdict that is told."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgetl.bundle import verify_bundle
from edgetl.data.sources import open_dataset
from edgetl.pipeline.config import training_config

FOLDER = Path(__file__).parents[2] / "export" / "recipes"
EXIT_CODES = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 4}
NAMES = (
    "resnet18_head_only",
    "joint_source_target",
    "resnet50_two_stages",
    "few_shots_flowers",
    "softmax_mlp",
)
OPTIONS: dict[str, Any] = {
    "quick": False,
    "data": "builtin:digits",
    "weights": "letters",
    "source": "builtin:letters",
    "method": "dann",
    "schedule": "ramp",
    "weight": 0.5,
    "train_from": "layer3",
    "pull": "kl",
    "shots": 20,
}


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module(name)


def run(name: str, out: Path, *options: object) -> tuple[dict[str, Any], list[str], str]:
    """The figures, the lines of standard output, and the progress."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--quick", "--out", str(out)]
    command += ["--json", str(out.parent / "figures.json"), *map(str, options)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=out.parent,
        env=os.environ | {"EDGETL_CACHE": str(out.parent / "cache"), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    figures = json.loads((out.parent / "figures.json").read_bytes())
    assert done.returncode == EXIT_CODES[figures["verdict"]], done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == f"{figures['verdict']}; {figures['bundle'] or 'no bundle'}"
    assert (figures["bundle"] is None) == (figures["verdict"] != "PASS")
    if figures["bundle"] is not None:
        assert verify_bundle(Path(figures["bundle"])) == []
    assert max(map(len, lines[:-1])) <= 200
    return figures, lines, done.stderr


def test_the_mlp_learns_and_the_softmax_is_the_right_one(tmp_path: Path) -> None:
    from tests.export_scripts.test_recipes import idx_of

    data = idx_of(open_dataset("builtin:digits"), tmp_path / "idx")
    figures, lines, progress = run("softmax_mlp", tmp_path / "out", "--data", f"idx:{data}")
    assert "softmax(2, 1, -1) = 0.7054 0.2595 0.0351" in lines
    assert np.isfinite(figures["extremes"]).all()
    assert figures["train"]["top1"] > 0.2 and figures["train"]["nll"] < np.log(10)
    assert "gate: done" in progress and "finetune: " in progress


@pytest.mark.slow
def test_the_head_alone_and_what_its_outputs_are_good_for(tmp_path: Path) -> None:
    figures, lines, _ = run("resnet18_head_only", tmp_path / "out", "--data", "builtin:digits")
    assert set(figures["top1_on_val"]) == {"the classifier itself", "logistic regression", "SVM"}
    for when in ("before_temperature", "after_temperature"):
        assert 0 < figures[when]["entropy"] <= np.log(10)
    assert any("fitted on 60 calib images" in line for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["joint", "coral"])
def test_source_and_target_together(tmp_path: Path, method: str) -> None:
    figures, _, _ = run("joint_source_target", tmp_path / "out", "--method", method)
    assert set(figures["val"]) == {"with the source", "without"}
    assert set(figures["terms"][0]) == {"joint", *({method} - {"joint"})}


@pytest.mark.slow
def test_two_stages_a_student_and_later_classes(tmp_path: Path) -> None:
    figures, lines, _ = run("resnet50_two_stages", tmp_path / "out")
    held = figures["later classes"]
    assert set(held) == {"plainly", "without forgetting (LwF)", "with EWC"}
    for found in held.values():
        assert found["old"]["classes"] == list("012345")
        assert found["new"]["classes"] == list("6789")
    assert sum("points forgotten" in line for line in lines) == 3


@pytest.mark.slow
def test_few_shots(tmp_path: Path) -> None:
    figures, _, _ = run("few_shots_flowers", tmp_path / "out", "--data", "builtin:digits")
    assert len(figures["heads"]) == 6 and len(figures["imbalanced"]) == 4
    assert figures["heads"]["dense 1024, 6 a class"]["images"] == 60


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("quick", [False, True])
def test_each_config_is_one_that_can_be_trained(
    name: str, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = script(name, monkeypatch)
    make = getattr(module, "config", None) or module.two_stages
    options = argparse.Namespace(**(OPTIONS | {"quick": quick}))
    made = make(options)
    wanted = training_config(made, weights="none")
    assert wanted.epochs >= 1
    if name == "resnet18_head_only":
        assert (wanted.recipe, wanted.optimizer) == ("linear-probe", "adam")
        assert wanted.head_learning_rate == 1e-3
    if name == "few_shots_flowers":
        assert (wanted.head_kind, wanted.head_width) == ("mlp", 1024)


@pytest.mark.parametrize("name", NAMES)
def test_each_says_how_it_is_run_and_imports_nothing_private(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree)
    assert docstring and f"python export/recipes/{name}.py --out" in docstring
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not any(alias.name.startswith("_") for alias in node.names)


def test_the_first_of_each_class_are_nested(monkeypatch: pytest.MonkeyPatch) -> None:
    first = script("few_shots_flowers", monkeypatch)._first
    digits = open_dataset("builtin:digits")
    rows = np.random.default_rng(0).permutation(len(digits))
    few, more = (first(digits, rows, [count] * 10) for count in (5, 10))
    assert set(few) < set(more) <= set(rows)
    assert np.bincount(digits.labels[more]).tolist() == [10] * 10
    falling = first(digits, rows, list(range(10, 0, -1)))
    assert np.bincount(digits.labels[falling]).tolist() == list(range(10, 0, -1))


def test_later_classes_are_a_dataset_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    module = script("resnet50_two_stages", monkeypatch)
    later = module._of_classes(open_dataset("builtin:digits"), range(6, 10))
    assert later.classes == tuple("6789")
    parts = module._split(later)
    assert set(parts) == {"train", "val", "calib"}
    assert all(set(part.labels) == {0, 1, 2, 3} for part in parts.values())
