from __future__ import annotations

from pathlib import Path

import pytest

from edgetl.errors import ConfigError, UsageError
from edgetl.pipeline.config import load_config
from edgetl.pipeline.finetune_keys import plain_keys, read_settings, read_value, with_values


def test_values_are_tomls_and_texts_need_no_marks() -> None:
    found = read_settings(['augment="light"', "recipe=lp-ft", "weight_decay=0", "lora_layers=[]"])
    assert found == {"augment": "light", "recipe": "lp-ft", "weight_decay": 0, "lora_layers": []}


@pytest.mark.parametrize("text", ["3\nepochs = 4", "1 # a comment\nb = 2", "2020-01-0x"])
def test_a_value_is_one_value(text: str) -> None:
    assert read_value(text) == text


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["epochs"], "KEY=VALUE"),
        (["epochs="], "KEY=VALUE"),
        (["epoch=3"], "did you mean 'epochs'?"),
        (["l2_sp=3"], "a table"),
        (["nothing.weight=3"], "no key of [finetune]"),
        (["epochs=3", "epochs=4"], "set already"),
        (["l2_sp.weight=1", "l2_sp.weight=2"], "set already"),
    ],
)
def test_what_is_no_setting(texts: list[str], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_settings(texts)
    assert words in str(refused.value)


def test_tables_are_no_plain_keys() -> None:
    keys = plain_keys()
    assert "l2_sp" not in keys and keys["architecture"] is None and keys["batch_size"] == 64


def test_a_config_with_other_values(tiny_config: Path) -> None:
    config = load_config(tiny_config)
    other = with_values(config, {"epochs": 3, "l2_sp": {"weight": 0.5}})
    assert other.finetune is not None and other.finetune.epochs == 3
    assert other.finetune.l2_sp is not None and other.finetune.l2_sp.weight == 0.5
    assert other.data == config.data and other.finetune.learning_rate == 3e-3
    with pytest.raises(ConfigError, match="epochs"):
        with_values(config, {"epochs": 0})
