"""A config that exists can be used."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from edgetl.errors import ConfigError
from edgetl.train.config import _LATER, FinetuneConfig, without_later_defaults
from edgetl.train.session import described_config


def _config(**changes: Any) -> FinetuneConfig:
    values: dict[str, Any] = {"architecture": "mlp", "weights": "none", "recipe": "two-stage"}
    return FinetuneConfig(**{**values, **changes})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("recipe", "magic"),
        ("device", "mps"),
        ("augment", "heavy"),
        ("precision", "fp8"),
        ("epochs", 0),
        ("epochs", 2.0),
        ("epochs", True),
        ("head_epochs", 0),
        ("batch_size", -1),
        ("patience", 0),
        ("threads", 0),
        ("threads", -1),
        ("seed", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("head_learning_rate", float("inf")),
        ("head_learning_rate", "0.1"),
        ("weight_decay", -0.1),
        ("weight_decay", float("nan")),
        ("label_smoothing", 1.0),
        ("label_smoothing", -0.1),
        ("optimizer", "lion"),
        ("schedule", "cyclic"),
        ("loss", "hinge"),
        ("class_weights", "inverse"),
        ("sampler", "random"),
        ("head_kind", "svm"),
        ("accumulate", 0),
        ("head_width", 0),
        ("lora_rank", 0),
        ("lora_alpha", 0.0),
        ("lora_layers", ()),
        ("lora_layers", ("",)),
        ("lora_layers", "qkv"),
        ("train_from", ""),
        ("train_from", 4),
        ("layer_decay", 0.0),
        ("layer_decay", 1.1),
        ("layer_decay", float("nan")),
        ("ema", 0.0),
        ("ema", 1.0),
        ("ema", float("nan")),
        ("focal_gamma", -1.0),
        ("logit_adjustment", float("inf")),
        ("mixup", -0.1),
        ("cutmix", float("nan")),
        ("choose_weight_decay", 1),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        _config(**{name: value})
    assert caught.value.subject == name


def test_the_second_stage_has_the_lower_rate() -> None:
    with pytest.raises(ConfigError, match="learning_rate"):
        _config(learning_rate=1e-3, head_learning_rate=1e-3)
    assert _config(recipe="full", learning_rate=1e-2, head_learning_rate=1e-3).epochs == 10


@pytest.mark.parametrize(
    ("name", "changes", "owner"),
    [
        ("focal_gamma", {"focal_gamma": 1.0}, "loss"),
        ("logit_adjustment", {"logit_adjustment": 0.5, "loss": "focal"}, "loss"),
        ("head_width", {"head_width": 9, "head_kind": "cosine"}, "head_kind"),
        ("lora_rank", {"lora_rank": 4}, "recipe"),
        ("lora_layers", {"lora_layers": ("qkv",)}, "recipe"),
        ("train_from", {"train_from": "layer4", "recipe": "linear-probe"}, "recipe"),
        ("layer_decay", {"layer_decay": 0.5, "recipe": "lora"}, "recipe"),
        ("choose_weight_decay", {"choose_weight_decay": True, "recipe": "full"}, "recipe"),
        ("head_kind", {"head_kind": "mlp", "recipe": "lp-ft"}, "recipe"),
        ("precision", {"precision": "fp16", "device": "cpu"}, "device"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(
    name: str, changes: dict[str, Any], owner: str
) -> None:
    with pytest.raises(ConfigError, match=owner) as caught:
        _config(**changes)
    assert caught.value.subject == name


def test_later_settings_are_part_of_a_description_only_where_they_differ() -> None:
    old = described_config(_config())
    assert old.keys() == {
        *("architecture", "weights", "recipe", "device", "epochs", "head_epochs", "batch_size"),
        *("learning_rate", "head_learning_rate", "weight_decay", "label_smoothing", "augment"),
        *("precision", "patience", "seed", "threads"),
    }
    new = described_config(_config(recipe="full", ema=0.9, head="fc", layer_decay=0.7))
    assert new.keys() - old.keys() == {"ema", "head", "layer_decay"}


def test_every_later_setting_has_a_default_to_be_left_out_at() -> None:
    values = dataclasses.asdict(_config())
    assert set(described_config(_config())) | set(_LATER) == set(values)
    assert without_later_defaults(values) == described_config(_config())


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "logit-adjusted", "sampler": "balanced"},
        {"loss": "logit-adjusted", "class_weights": "effective"},
        {"class_weights": "balanced", "sampler": "balanced"},
    ],
)
def test_imbalance_is_corrected_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="more than once") as caught:
        FinetuneConfig(architecture="mlp", weights="none", recipe="full", **settings)
    assert all(repr(value) in caught.value.got for value in settings.values())
