from __future__ import annotations

import pickle
import tomllib
from pathlib import Path

import pytest

from edgetl.errors import ConfigError
from edgetl.gate import Objective, Policy, load_policy

LIMITS = [name for name in Policy.__dataclass_fields__ if name.startswith("max_")]


def test_the_defaults():
    assert Policy().to_json() == {
        "schema": "edgetl.policy/1",
        "max_accuracy_drop": 0.01,
        "max_nll_increase": 0.02,
        "max_brier_increase": 0.005,
        "max_confidence_gap": 0.01,
        "max_log_temperature_ratio": 0.05,
        "max_flip_rate": 0.03,
        "max_worst_class_drop": None,
        "max_slice_drop": None,
        "slices": [],
        "max_p50_ratio": 1.0,
        "max_p90_ratio": None,
        "max_p99_ms": None,
        "max_size_mb": None,
        "max_memory_mb": None,
        "alpha": 0.05,
        "objective": {"batch": 1, "threads": None},
    }


def test_a_policy_comes_back_from_its_json(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(
        'schema = "edgetl.policy/1"\nmax_p50_ratio = 1\nalpha = 0.01\nmax_size_mb = 10\n'
        'max_slice_drop = 0.03\nslices = ["camera", "light=night"]\n'
        "[objective]\nbatch = 8\nthreads = 2\n"
    )
    policy = load_policy(path)
    assert policy == Policy(
        max_p50_ratio=1.0,
        alpha=0.01,
        max_size_mb=10.0,
        max_slice_drop=0.03,
        slices=("camera", "light=night"),
        objective=Objective(batch=8, threads=2),
    )
    assert policy.states("max_size_mb")
    assert not policy.states("max_memory_mb")
    assert policy.states("max_p50_ratio")
    assert not policy.states("max_flip_rate")


def test_a_policy_is_frozen_and_pickles():
    with pytest.raises(AttributeError):
        Policy().alpha = 0.2  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(Policy(alpha=0.01))) == Policy(alpha=0.01)


@pytest.mark.parametrize("name", [*LIMITS, "alpha"])
@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 0.0, -0.01, "0.01", True]
)
def test_what_is_no_limit_is_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        Policy(**{name: value})
    with pytest.raises(ConfigError, match=name):
        load_policy({name: value})


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'max_flip_rate'"):
        load_policy({"max_flips_rate": 0.1})
    with pytest.raises(ConfigError, match="did you mean 'max_flip_rate'"):
        Policy(max_flips_rate=0.1)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"objective\.bach.*did you mean 'batch'"):
        load_policy({"objective": {"bach": 1}})


@pytest.mark.parametrize("slices", [["camera"], [""], [3], "camera"])
def test_slices_are_names_and_need_a_limit(slices):
    with pytest.raises(ConfigError, match="slices"):
        load_policy({"slices": slices})
    if slices != ["camera"]:
        with pytest.raises(ConfigError, match="slices"):
            load_policy({"slices": slices, "max_slice_drop": 0.03})


def test_the_wrong_schema_is_refused():
    with pytest.raises(ConfigError, match=r"edgetl\.policy/2"):
        load_policy({"schema": "edgetl.policy/2"})


def test_the_policy_in_the_docs_is_the_default():
    page = (Path(__file__).parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")
    block = page.split("```toml\n")[1].split("```")[0]
    assert load_policy(tomllib.loads(block)).to_json() == Policy().to_json()
