"""Two processes on the CPU train one classifier, with the figures of one process."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgetl.data.store import SplitPart
from edgetl.spec import TensorInput
from edgetl.train.config import FinetuneConfig
from edgetl.train.feed import SourceData
from edgetl.train.loop import finetune
from edgetl.train.terms.joint import JointSource
from edgetl.train.terms.l2_sp import L2Sp

_SCRIPT = """
import pickle, sys
from pathlib import Path
from edgetl.train.loop import finetune

for name, call in pickle.loads(Path("calls.pickle").read_bytes()).items():
    finetune(*call["parts"], out=Path(name), **call["more"])
"""


def _config(**changes: Any) -> FinetuneConfig:
    values: dict[str, Any] = {
        "architecture": "mlp",
        "weights": "none",
        "recipe": "two-stage",
        "epochs": 3,
        "head_epochs": 1,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "head_learning_rate": 2e-2,
        "threads": 1,
        "device": "cpu",
    }
    return FinetuneConfig(**{**values, **changes})


def _figures(record: dict[str, Any]) -> dict[str, float]:
    values = {**record, **record.get("terms", {})}
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def test_two_processes_give_the_figures_of_one(
    train_part: SplitPart, val_part: SplitPart, tmp_path: Path
) -> None:
    more: dict[str, Any] = {"input": TensorInput(shape=(64,)), "classes": ("a", "b", "c")}
    terms = {
        "terms": (L2Sp(weight=0.01), JointSource(weight=0.5, schedule="constant")),
        "sources": (SourceData(val_part, ("x", "y", "z"), 6),),
    }
    configs = {
        # 24 images in batches of 5, 5, 5, 5 and 4: the shares of the processes differ.
        "plain": (_config(batch_size=5, class_weights="balanced"), {}),
        "terms": (_config(sampler="balanced", accumulate=2, batch_size=6), terms),
        "gradual": (_config(recipe="gradual", ema=0.8, optimizer="sgd"), {}),
        "lp-ft": (_config(recipe="lp-ft"), {}),
    }
    calls = {
        name: {"parts": (config, train_part, val_part), "more": {**more, **extra}}
        for name, (config, extra) in configs.items()
    }
    (tmp_path / "calls.pickle").write_bytes(pickle.dumps(calls))
    (tmp_path / "script.py").write_text(_SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*launch, "--nproc-per-node", "2", "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    for name, call in calls.items():
        alone = finetune(*call["parts"], out=tmp_path / f"{name} alone", **call["more"])
        together = json.loads((tmp_path / name / "history.json").read_text())
        assert (alone.processes, together["processes"]) == (1, 2)
        assert len(alone.records) == len(together["epochs"])
        for mine, theirs in zip(alone.records, together["epochs"], strict=True):
            # The same sums in another order.
            assert _figures(mine.to_json()) == pytest.approx(_figures(theirs), rel=1e-3), name
        # One process wrote the logs.
        assert len(list((tmp_path / name / "logs").iterdir())) == 1
