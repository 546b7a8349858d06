"""A config that exists can be used."""

from __future__ import annotations

from typing import Any

import pytest

from edgetl.errors import ConfigError
from edgetl.train.config import FinetuneConfig


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
