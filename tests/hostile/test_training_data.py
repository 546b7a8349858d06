"""Training on hostile labels and numbers: each is one clear error, or a defined answer."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgetl.data.store import SplitPart
from edgetl.errors import CheckpointError, ConfigError, DataError
from edgetl.spec import ImageInput, TensorInput
from edgetl.train.config import FinetuneConfig
from edgetl.train.loop import finetune
from edgetl.train.losses import cross_entropy, data_loss, focal
from edgetl.train.mix import mix_batch

CONFIG = FinetuneConfig(
    architecture="mlp", weights="none", recipe="full", device="cpu", epochs=1, batch_size=8
)
CLASSES = ("cat", "dog", "fox")
COUNTS = torch.tensor([4, 8, 12])


def part(labels: list[int], *, first: int = 0) -> SplitPart:
    n = len(labels)
    images = np.random.default_rng(first).integers(0, 256, (n, 4, 4), dtype=np.uint8)
    ids = tuple(f"{first + at:064x}" for at in range(n))
    return SplitPart(ids=ids, labels=np.array(labels, np.int64), images=images)


def train(out: Path, labels: list[int], config: FinetuneConfig = CONFIG) -> None:
    finetune(
        config,
        part(labels),
        part([0, 1, 2], first=100),
        input=TensorInput(shape=(16,)),
        classes=CLASSES,
        out=out,
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"class_weights": "balanced"},
        {"class_weights": "effective"},
        {"loss": "logit-adjusted"},
    ],
)
def test_an_empty_class_is_refused_where_its_share_is_needed(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no training image of class 1") as caught:
        train(tmp_path, [0, 2] * 8, replace(CONFIG, **settings))
    assert caught.value.exit_code == 2 and not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("settings", [{}, {"sampler": "balanced"}, {"loss": "focal"}])
def test_elsewhere_an_empty_class_or_one_class_is_trained_without(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    train(tmp_path / "empty", [0, 2] * 8, replace(CONFIG, **settings))
    train(tmp_path / "one", [1] * 16, replace(CONFIG, **settings))
    assert (tmp_path / "one" / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["focal_gamma", "logit_adjustment", "mixup", "cutmix"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_settings_that_are_no_numbers_from_zero_are_refused(name: str, value: float) -> None:
    owner = {"focal_gamma": "focal", "logit_adjustment": "logit-adjusted"}
    with pytest.raises(ConfigError, match=name):
        replace(CONFIG, **{"loss": owner.get(name, "cross-entropy"), name: value})


@pytest.mark.parametrize(
    ("loss", "weights"),
    [
        *(("cross-entropy", weights) for weights in ("none", "balanced")),
        *(("focal", weights) for weights in ("none", "balanced")),
        ("logit-adjusted", "none"),
    ],
)
@pytest.mark.parametrize("soft", [False, True])
def test_a_nan_logit_makes_the_loss_nan(loss: Any, weights: Any, soft: bool) -> None:
    asked = data_loss(replace(CONFIG, loss=loss, class_weights=weights), COUNTS)
    logits = torch.zeros(4, 3)
    logits[2, 1] = torch.nan
    targets = torch.full((4, 3), 1 / 3) if soft else None
    assert asked(logits, torch.tensor([0, 1, 2, 0]), targets).isnan()


@pytest.mark.parametrize("value", [-math.inf, math.inf])
def test_an_infinite_logit_is_no_finite_loss_for_its_image(value: float) -> None:
    logits = torch.tensor([[0.0, value, 0.0]])
    label = torch.tensor([1 if value < 0 else 0])
    for loss in (cross_entropy(logits, label), focal(logits, label, gamma=2.0)):
        assert not torch.isfinite(loss)


def test_inputs_that_overflow_stop_training_and_leave_nothing(tmp_path: Path) -> None:
    n = 16
    images = np.full((n, 16), 3e38, np.float32)
    ids = tuple(f"{at:064x}" for at in range(n))
    labels = np.arange(n, dtype=np.int64) % 3
    bad = SplitPart(ids=ids, labels=labels, images=images)
    with pytest.raises(CheckpointError, match="step 1 of epoch 1"):
        finetune(
            replace(CONFIG, learning_rate=10.0),
            bad,
            bad,
            input=TensorInput(shape=(16,)),
            classes=CLASSES,
            out=tmp_path,
        )
    assert not (tmp_path / "model.safetensors").exists()


def test_batches_of_one_image_are_trained_unmixed(tmp_path: Path) -> None:
    train(tmp_path, [0, 1, 2, 0], replace(CONFIG, batch_size=1, mixup=0.4))
    assert (tmp_path / "model.safetensors").exists()


def test_cutmix_of_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cutmix"):
        train(tmp_path, [0, 1, 2, 0], replace(CONFIG, cutmix=1.0))
    assert not (tmp_path / "model.safetensors").exists()


def test_labels_beyond_the_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="labels from 0 to 3"):
        train(tmp_path, [0, 1, 2, 3], replace(CONFIG, sampler="balanced"))
    assert not list(tmp_path.iterdir())


def test_everything_at_once_on_the_smallest_images(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    ids = tuple(f"{at:064x}" for at in range(12))
    labels = np.array([0] * 9 + [1, 1, 2], np.int64)
    small = SplitPart(ids=ids, labels=labels, images=images)
    config = replace(
        CONFIG,
        architecture="mobilenet_v3_small",
        batch_size=6,
        loss="focal",
        label_smoothing=0.1,
        sampler="balanced",
        augment="trivial",
        mixup=0.2,
        cutmix=1.0,
        threads=1,
    )
    spec = ImageInput(height=32, width=32)
    outs = [tmp_path / name for name in ("first", "second")]
    for out in outs:
        finetune(config, small, small, input=spec, classes=CLASSES, out=out)
    first, second = ((out / "model.safetensors").read_bytes() for out in outs)
    assert first == second


@pytest.mark.parametrize("alpha", [-0.1, math.nan])
def test_mixing_by_hand_with_no_distribution_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigError, match="Beta"):
        mix_batch(
            torch.zeros(2, 4, 4, 3, dtype=torch.uint8),
            torch.tensor([0, 1]),
            classes=2,
            mixup=alpha,
            cutmix=0.0,
            generator=np.random.default_rng(0),
        )
