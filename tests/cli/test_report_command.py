from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgetl.cli.main import main
from edgetl.gate import Predictions


@pytest.fixture
def stored(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    for name, noise in (("ref", 0.0), ("cand", 0.01)):
        logits = np.eye(3)[labels] * 4 + rng.normal(0, noise, (600, 3))
        exp = np.exp(logits)
        answers = exp / exp.sum(axis=1, keepdims=True)
        Predictions(labels=labels, probabilities=answers).save(tmp_path / f"{name}.npz")
    return [str(tmp_path / "ref.npz"), str(tmp_path / "cand.npz")]


def test_stored_predictions_become_a_page(
    tmp_path: Path, stored: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    page, result = tmp_path / "page.html", tmp_path / "r.json"
    arguments = ["report", "--predictions", *stored, "--page", str(page)]
    assert main([*arguments, "--json", str(result)]) == 0
    assert str(page) in capsys.readouterr().out
    text = page.read_text()
    assert text.lstrip().lower().startswith("<!doctype html>") and "PASS" in text
    assert json.loads(result.read_text()) == {"report": str(page), "verdict": "PASS"}
    assert main(arguments) == 2
    assert "a file that exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "CONFIG"),
        (["x.toml", "--predictions", "a", "b"], "CONFIG"),
        (["--predictions", "REF", "CAND"], "--page"),
        (["--predictions", "REF", "CAND", "--page", "p.html", "--dry-run"], "no stages"),
        (["x.toml", "--page", "p.html"], "--page"),
        (["x.toml", "--policy", "p.toml"], "--policy"),
        (["--predictions", "REF", "gone.npz", "--page", "p.html"], "nothing there"),
        (["--predictions", "REF", "CAND", "--page", "REF", "--force"], "the same file"),
        (["--predictions", "REF", "CAND", "--page", "-"], "standard output"),
    ],
)
def test_bad_usage_is_one_message(
    arguments: list[str], named: str, stored: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"REF": stored[0], "CAND": stored[1]}
    assert main(["report", *(names.get(one, one) for one in arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and named in said.err


def test_a_release_has_its_page(tiny_release, tmp_path: Path, capsys) -> None:
    result = tmp_path / "r.json"
    arguments = ["report", str(tiny_release.config), "--out", str(tiny_release.folder)]
    assert main([*arguments, "--json", str(result)]) == 0
    told = json.loads(result.read_text())
    assert told["verdict"] == "PASS" and Path(told["report"]).is_file()
