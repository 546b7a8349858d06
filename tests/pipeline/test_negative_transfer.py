from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgetl.data.dataset import Dataset
from edgetl.data.letters import render_letters
from edgetl.data.sources import open_dataset
from edgetl.data.store import SplitPart
from edgetl.pipeline.negative_transfer import check_transfer, scratch_config
from edgetl.pipeline.transfer_check import BASELINES, Baseline, TransferCheck
from edgetl.spec import TensorInput
from edgetl.train.config import FinetuneConfig
from edgetl.train.loop import finetune

INPUT = TensorInput(shape=(8, 8))
CLASSES = tuple("0123456789")


def part(dataset: Dataset, start: int, count: int) -> SplitPart:
    chosen = dataset.subset(range(start, start + count))
    return SplitPart(ids=chosen.ids, labels=chosen.labels, images=chosen.images)


@pytest.fixture(scope="module")
def digits() -> tuple[SplitPart, SplitPart]:
    dataset = open_dataset("builtin:digits")
    return part(dataset, 0, 100), part(dataset, 100, 300)


@pytest.fixture(scope="module")
def letters() -> SplitPart:
    dataset = render_letters(40, seed=1, size=8)
    return part(dataset, 0, len(dataset))


def trained_on(
    train: SplitPart, val: SplitPart, classes: tuple[str, ...], out: Path, **changes: object
) -> FinetuneConfig:
    config = FinetuneConfig(
        architecture="mlp:32",
        weights="none",
        recipe="full",
        epochs=10,
        batch_size=16,
        learning_rate=5e-3,
        device="cpu",
        threads=1,
    )
    config = replace(config, **changes)  # type: ignore[arg-type]
    finetune(config, train, val, input=INPUT, classes=classes, out=out)
    return config


def checked(
    config: FinetuneConfig,
    parts: tuple[SplitPart, SplitPart],
    trained: Path,
    out: Path,
    *baselines: Baseline,
    source: SplitPart | None = None,
    code: Path | None = None,
) -> TransferCheck:
    return check_transfer(
        config,
        *parts,
        input=INPUT,
        classes=CLASSES,
        trained=trained,
        out=out,
        baselines=baselines or BASELINES,
        source=source,
        code=code,
    )


@pytest.fixture(scope="module")
def transferred(
    digits: tuple[SplitPart, SplitPart], tmp_path_factory: pytest.TempPathFactory
) -> tuple[FinetuneConfig, Path]:
    """Digits from a body that knows digits: three epochs where from scratch would need more."""
    folder = tmp_path_factory.mktemp("transferred")
    more = open_dataset("builtin:digits")
    trained_on(part(more, 400, 800), digits[1], CLASSES, folder / "source", epochs=6)
    config = trained_on(
        *digits,
        CLASSES,
        folder / "target",
        weights=str(folder / "source/model.safetensors"),
        epochs=3,
        learning_rate=1e-3,
    )
    return config, folder / "target"


def test_transfer_that_helped_is_said_with_both_baselines_and_the_gap(
    transferred: tuple[FinetuneConfig, Path],
    digits: tuple[SplitPart, SplitPart],
    letters: SplitPart,
    tmp_path: Path,
) -> None:
    config, trained = transferred

    found = checked(config, digits, trained, tmp_path, source=letters)

    history = json.loads((trained / "history.json").read_text())
    best = history["epochs"][history["best_epoch"] - 1]
    assert found.this.top1 == pytest.approx(best["top1"])
    assert found.this.nll == pytest.approx(best["nll"], rel=1e-5)
    assert found.differences["from-scratch"].better == "this"
    assert not found.negative
    assert found.sentence.startswith("transfer helped: better than from scratch by")
    # A head on a body that was trained on digits is nearly as good as more training.
    assert found.baselines["source-model"].top1 > found.baselines["from-scratch"].top1
    assert found.gap is not None and found.gap["domain_accuracy"] > 0.8
    assert found.gap["features"] == "of the network with its starting weights"


def test_the_baseline_sees_the_same_images_for_as_many_epochs(
    transferred: tuple[FinetuneConfig, Path], digits: tuple[SplitPart, SplitPart], tmp_path: Path
) -> None:
    config, trained = transferred

    found = checked(config, digits, trained, tmp_path, "from-scratch")

    history = json.loads((tmp_path / "from-scratch/history.json").read_text())
    assert history["config"]["weights"] == "none"
    assert history["images"] == {"train": 100, "val": 300}
    assert len(history["epochs"]) == 3
    assert found.baselines["from-scratch"].top1 == pytest.approx(
        history["epochs"][history["best_epoch"] - 1]["top1"]
    )
    assert set(found.baselines) == {"from-scratch"}
    assert found.gap is None


def test_a_source_that_harms_is_called_negative_transfer(
    digits: tuple[SplitPart, SplitPart], tmp_path: Path
) -> None:
    """The body maps every image to the same features: what it knew of digits is gone."""
    train, val = digits
    dark = replace(train, images=np.zeros_like(train.images))
    trained_on(dark, val, CLASSES, tmp_path / "source", learning_rate=0.5, epochs=3)
    config = trained_on(
        train,
        val,
        CLASSES,
        tmp_path / "target",
        weights=str(tmp_path / "source/model.safetensors"),
        recipe="linear-probe",
        epochs=15,
    )

    found = checked(config, (train, val), tmp_path / "target", tmp_path, "from-scratch")

    assert found.negative
    assert found.sentence.startswith("negative transfer: from scratch is better by")


def test_copies_of_an_image_are_one(
    transferred: tuple[FinetuneConfig, Path], digits: tuple[SplitPart, SplitPart], tmp_path: Path
) -> None:
    config, trained = transferred
    train, val = digits
    twice = SplitPart(
        ids=val.ids * 2,
        labels=np.tile(val.labels, 2),
        images=np.concatenate([val.images, val.images]),
    )

    found = checked(config, (train, twice), trained, tmp_path, "source-model")

    assert found.differences["source-model"].images == len(set(val.ids))


def test_random_weights_have_no_source_model(
    digits: tuple[SplitPart, SplitPart], tmp_path: Path
) -> None:
    config = trained_on(*digits, CLASSES, tmp_path / "target", epochs=1)

    found = checked(config, digits, tmp_path / "target", tmp_path, "source-model")

    assert found.missing == {"source-model": "training started from random weights"}
    assert not found.negative


def test_a_head_can_be_solved_with_one_image_of_a_class(
    transferred: tuple[FinetuneConfig, Path], digits: tuple[SplitPart, SplitPart], tmp_path: Path
) -> None:
    config, trained = transferred
    train, val = digits
    first = np.unique(train.labels, return_index=True)[1]
    few = SplitPart(
        ids=tuple(train.ids[at] for at in first),
        labels=train.labels[first],
        images=train.images[first],
    )

    found = checked(config, (few, val), trained, tmp_path, "source-model")

    assert found.baselines["source-model"].top1 > 0.5


@pytest.mark.parametrize(
    ("changes", "epochs", "rate"),
    [
        ({"recipe": "two-stage", "head_epochs": 2}, 7, 1e-3),
        ({"recipe": "linear-probe", "choose_weight_decay": True}, 5, 1e-3),
        ({"recipe": "full", "layer_decay": 0.5, "train_from": "head"}, 5, 1e-3),
        ({"recipe": "lora", "lora_rank": 2}, 5, 1e-3),
        ({"recipe": "full", "learning_rate": 0.02}, 5, 0.02),
        ({"recipe": "full", "optimizer": "sgd"}, 5, 0.01),
    ],
)
def test_from_scratch_every_parameter_trains_in_the_whole_budget(
    changes: dict[str, object], epochs: int, rate: float
) -> None:
    config = FinetuneConfig(architecture="mlp", weights="a.safetensors", recipe="full", epochs=5)

    scratch = scratch_config(replace(config, **changes))  # type: ignore[arg-type]

    assert (scratch.weights, scratch.recipe) == ("none", "full")
    assert (scratch.layer_decay, scratch.train_from, scratch.lora_rank) == (1.0, None, 8)
    assert (scratch.epochs, scratch.learning_rate) == (epochs, rate)


_NET = """
from torch import nn

def make(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, classes))
"""


def test_a_factory_that_brings_its_weights_has_no_known_scratch(
    digits: tuple[SplitPart, SplitPart], tmp_path: Path
) -> None:
    (tmp_path / "own_net.py").write_text(_NET)
    config = FinetuneConfig(
        architecture="python:own_net:make",
        weights="factory",
        recipe="full",
        epochs=1,
        device="cpu",
        threads=1,
    )
    arguments = {"input": INPUT, "classes": CLASSES, "code": tmp_path}
    finetune(config, *digits, out=tmp_path / "target", **arguments)  # type: ignore[arg-type]

    found = checked(config, digits, tmp_path / "target", tmp_path, code=tmp_path)

    assert set(found.missing) == {"from-scratch"}
    assert set(found.baselines) == {"source-model"}
    assert "no from-scratch baseline: only the factory knows" in found.sentence


def test_a_network_without_features_has_no_source_model_and_no_gap(
    transferred: tuple[FinetuneConfig, Path],
    digits: tuple[SplitPart, SplitPart],
    letters: SplitPart,
    tmp_path: Path,
) -> None:
    config, trained = transferred

    found = checked(
        replace(config, head="output"), digits, trained, tmp_path, "source-model", source=letters
    )

    assert "no linear layer behind a body" in found.missing["source-model"]
    assert found.gap is not None and set(found.gap) == {"not_measured"}
