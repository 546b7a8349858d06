"""A run whose order, images and targets are all drawn goes on after a kill to the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgetl.data.store import SplitPart
from edgetl.spec import ImageInput
from edgetl.train.config import Augment, FinetuneConfig
from edgetl.train.loop import TrainProgress, finetune
from edgetl.train.progress import Progress

NETWORK = """
from torch import nn


def tiny(classes):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(6, classes),
    )
"""
CLASSES = ("cat", "dog", "fox")


class Killed(Exception):
    """What stands for a kill after the first whole epoch."""


def kill(progress: TrainProgress) -> None:
    if progress.record is not None:
        raise Killed


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    (folder / "drawn_net.py").write_text(NETWORK)
    return folder


@pytest.mark.parametrize("augment", ["trivial", "rand", "crop-flip"])
def test_a_resumed_run_draws_what_it_would_have_drawn(
    augment: Augment, code: Path, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (14, 12, 12, 3), dtype=np.uint8)
    ids = tuple(f"{at:064x}" for at in range(14))
    labels = np.array([0] * 9 + [1, 1, 2, 2, 2], np.int64)
    part = SplitPart(ids=ids, labels=labels, images=images)
    config = FinetuneConfig(
        architecture="python:drawn_net:tiny",
        weights="none",
        recipe="full",
        device="cpu",
        epochs=3,
        batch_size=5,
        learning_rate=0.01,
        loss="focal",
        sampler="balanced",
        augment=augment,
        mixup=0.4,
        cutmix=1.0,
        threads=1,
    )

    def train(out: Path, progress: Progress | None = None) -> int:
        result = finetune(
            config,
            part,
            part,
            input=ImageInput(height=12, width=12),
            classes=CLASSES,
            out=out,
            code=code,
            progress=progress,
        )
        return result.resumed_epochs

    assert train(tmp_path / "whole") == 0
    with pytest.raises(Killed):
        train(tmp_path / "killed", kill)
    assert train(tmp_path / "killed") == 1
    whole, resumed = (tmp_path / name / "model.safetensors" for name in ("whole", "killed"))
    assert whole.read_bytes() == resumed.read_bytes()
