from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from edgetl.cli.main import main
from edgetl.cli.parser import make_parser
from edgetl.gate import Predictions

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "schemas" / "gate-plan-1.json").read_text()
)


@pytest.fixture
def pilot(tmp_path: Path) -> list[str]:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 400)
    scores = random.normal(0, 1, (400, 3)) + 3 * np.eye(3)[labels]
    slices = {"camera": np.array(["a\n%", "b" * 60])[random.integers(0, 2, 400)]}
    paths = []
    for name in ("ref", "cand"):
        paths.append(str(tmp_path / f"{name}.npz"))
        logits = scores + random.normal(0, 0.1, (400, 3))
        Predictions(logits=logits, labels=labels, slices=slices).save(paths[-1])
    return paths


def test_the_table_fits_100_columns(pilot, tmp_path, capsys):
    policy = tmp_path / "policy.toml"
    policy.write_text("max_slice_drop = 0.1\nmax_worst_class_drop = 0.1\n")
    five = [f"0.0{digit}" for digit in (1, 2, 3, 4, 5)]
    for more in ([], ["--discordance", *five, "--classes", "1000"], ["--predictions", *pilot]):
        assert main(["gate", "plan", "--policy", str(policy), *more]) == 0
        shown = capsys.readouterr().out
        assert max(map(len, shown.splitlines())) <= 100
        assert "top1_drop" in shown and "all together" in shown


def test_the_published_sizes_are_in_the_json(capsys):
    command = ["gate", "plan", "--margin", "0.02", "--discordance", "0.01", "0.03", "0.05"]
    assert main([*command, "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, SCHEMA)
    assert [plan["gates"][0]["n"] for plan in document["plans"]] == [284, 540, 819]
    assert document["policy"]["max_accuracy_drop"] == 0.02


def test_a_pilot_gives_one_plan(pilot, tmp_path, capsys):
    result = tmp_path / "plan.json"
    command = ["gate", "plan", "--predictions", *pilot, "--quiet", "--json", str(result)]
    assert main(command) == 0
    assert capsys.readouterr().out == ""
    document = json.loads(result.read_bytes())
    jsonschema.validate(document, SCHEMA)
    (plan,) = document["plans"]
    assert document["basis"] == "pilot" and plan["complete"] and plan["n"] > 100
    assert main([*command, "--power", "0.9", "--force"]) == 0
    assert json.loads(result.read_bytes())["plans"][0]["n"] > plan["n"]


def test_a_config_called_plan_can_still_be_judged(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan").write_text("[broken\n")
    assert main(["gate", "./plan"]) == 2
    assert "TOML" in capsys.readouterr().err
    assert make_parser().parse_args(["gate", "./plan"]).config == Path("plan")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--margin", "nan"], "'nan'"),
        (["--margin", "1"], "'1'"),
        (["--power", "0"], "'0'"),
        (["--classes", "0"], "'0'"),
        (["--classes", "1"], "1 classes"),
        (["--discordance", "x"], "'x'"),
        (["--discordance", *["0.01"] * 6], "at most 5"),
        (["--classes", "3", "--predictions", "a", "b"], "beside --predictions"),
        (["--predictions", "a.npz", "b.npz"], "nothing there"),
        (["--policy", "no.toml"], "nothing there"),
        (["--marginn", "0.1"], "did you mean '--margin'?"),
        (["config.toml"], "edgetl gate plan"),
    ],
)
def test_bad_usage_is_one_message(more, said, capsys):
    assert main(["gate", "plan", *more]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and said in shown.err
    assert [line.split()[0] for line in shown.err.splitlines()] == [
        *("edgetl:", "got", "expected", "to")
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_nll_increase = nan", "nan"),
        ("max_flip_rates = 0.1", "did you mean 'max_flip_rate'?"),
        ("slices = ['camera']", "max_slice_drop"),
    ],
)
def test_a_policy_that_is_not_right_is_one_message(text, said, tmp_path, capsys):
    policy = tmp_path / "policy.toml"
    policy.write_text(text)
    assert main(["gate", "plan", "--policy", str(policy)]) == 2
    assert said in capsys.readouterr().err
