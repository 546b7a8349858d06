from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.data.sources import open_dataset
from edgetl.data.splits import make_splits
from edgetl.errors import DataError, UsageError
from edgetl.pipeline import choose_config
from edgetl.pipeline.choose_backbones import Backbone
from edgetl.pipeline.choose_config import ChooseRequest, comparison_of
from edgetl.pipeline.init_splits import choose_splits
from edgetl.spec import ImageInput
from tests.data.helpers.pictures import make_folder

ONE = Backbone(label="resnet18", architecture="resnet18", weights="none")
DIGITS = ChooseRequest(data="builtin:digits", budget_ms=5.0)


@pytest.mark.parametrize("budget", [0.0, -1.0, math.nan, math.inf])
def test_a_budget_that_is_no_time_is_refused(budget: float) -> None:
    with pytest.raises(UsageError, match="above 0"):
        ChooseRequest(data="builtin:digits", budget_ms=budget)


def test_the_test_split_is_that_of_a_release_and_has_no_part_in_the_choice() -> None:
    comparison = comparison_of(replace(DIGITS, images=60))
    data = comparison.of(ONE).data
    dataset = open_dataset("builtin:digits")
    drawn = make_splits(
        dataset, val=data.val, calib=data.calib, test=data.test, train=data.train, seed=data.seed
    )
    usual = choose_splits(dataset)
    released = make_splits(
        dataset, val=usual.val, calib=usual.calib, test=usual.test, train=None, seed=0
    )
    assert np.array_equal(drawn.test, released.test) and data.train == 60
    assert dict(comparison.sizes) == {"val": usual.val, "calib": usual.calib, "test": usual.test}


def test_a_config_lends_its_data_input_and_policy(tiny_config: Path) -> None:
    comparison = comparison_of(
        ChooseRequest(data=str(tiny_config), budget_ms=1.0, threads=1, batch=4)
    )
    mlp = Backbone(label="mlp", architecture="mlp", weights="none")
    config = comparison.of(mlp)
    assert comparison.name == config.name == "choose-tiny"
    assert config.gate.policy.max_p50_ratio == 5.0
    assert config.gate.policy.objective.batch == 4 and config.used_threads == 1
    assert (config.data.val, config.data.calib, config.data.test) == (300, 200, 797)
    assert config.data.train == 500 and config.finetune is not None
    assert config.finetune.architecture == "mlp" and config.input.shape == (8, 8)


def test_a_config_for_a_few_shots_is_scored_on_those(tiny_config: Path, tmp_path: Path) -> None:
    text = tiny_config.read_text()
    mlp = Backbone(label="mlp", architecture="mlp", weights="none")

    def data_of(train: str, images: int | None = None) -> Any:
        path = tmp_path / "few.toml"
        path.write_text(text.replace("train = 500", train))
        request = ChooseRequest(data=str(path), budget_ms=1.0, images=images)
        return comparison_of(request).of(mlp).data

    assert (data_of("per_class = 5").train, data_of("per_class = 5").per_class) == (None, 5)
    assert (data_of("per_class = 5", 80).train, data_of("per_class = 5", 80).per_class) == (
        80,
        None,
    )
    assert data_of("train = 90").train == 90
    with pytest.raises(DataError, match="at least two"):
        data_of("per_class = 1")


def test_size_makes_a_square_and_cuts_photographs_out() -> None:
    small = comparison_of(replace(DIGITS, size=64)).input
    assert isinstance(small, ImageInput) and small.resize_shorter is None
    large = comparison_of(replace(DIGITS, size=192)).input
    assert isinstance(large, ImageInput)
    assert (large.height, large.resize_shorter) == (192, 219)
    assert comparison_of(DIGITS).input == ImageInput(height=32, width=32)


def test_published_timm_weights_bring_their_own_mean_and_std(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    half = (0.5, 0.5, 0.5)
    preset = ImageInput(height=224, width=224, interpolation="bicubic", mean=half, std=half)
    monkeypatch.setattr(choose_config, "read_preset", lambda kind, name: preset)
    comparison = comparison_of(DIGITS)
    timm = Backbone(label="timm:a", architecture="timm:a", weights="pretrained")
    found = comparison.of(timm).input
    assert (found.height, found.mean, found.interpolation) == (32, half, "bicubic")
    assert comparison.of(replace(timm, weights="none")).input.mean != half


def test_more_images_are_taken_where_a_class_is_rare(tmp_path: Path) -> None:
    make_folder(tmp_path / "pets", {"cat": 60, "dog": 12})
    request = ChooseRequest(data=f"folder:{tmp_path / 'pets'}", budget_ms=1.0)
    config = comparison_of(request).of(ONE)
    assert config.data.train is not None and config.data.train >= 10
    with pytest.raises(DataError, match="--images") as caught:
        comparison_of(replace(request, images=3))
    assert "'dog'" in caught.value.subject


@pytest.mark.parametrize(
    ("counts", "said"), [({"cat": 20}, "class"), ({"cat": 20, "dog": 1}, "class"), ({}, "class")]
)
def test_too_few_classes_or_images_are_refused(
    tmp_path: Path, counts: dict[str, int], said: str
) -> None:
    (tmp_path / "pets").mkdir()
    make_folder(tmp_path / "pets", counts)
    with pytest.raises(DataError, match=said):
        comparison_of(ChooseRequest(data=f"folder:{tmp_path / 'pets'}", budget_ms=1.0))


def test_a_plain_folder_and_an_unknown_source_are_told_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"folder:{tmp_path}"):
        comparison_of(ChooseRequest(data=str(tmp_path), budget_ms=1.0))
    with pytest.raises(DataError, match="did you mean 'builtin:digits'"):
        comparison_of(ChooseRequest(data="builtin:digit", budget_ms=1.0))
    with pytest.raises(UsageError, match="leave --size out"):
        np.savez(tmp_path / "one.npz", x=np.eye(40, dtype=np.float32), labels=np.arange(40) % 2)
        comparison_of(ChooseRequest(data=f"npz:{tmp_path / 'one.npz'}", budget_ms=1.0, size=32))
