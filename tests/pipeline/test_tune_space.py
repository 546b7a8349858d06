from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgetl.errors import UsageError
from edgetl.pipeline.config import InputConfig, ReleaseConfig, load_config
from edgetl.pipeline.sections import L2SpSection
from edgetl.pipeline.tune_space import Choice, Range, default_space, read_space, suggest


@pytest.fixture
def config(tiny_config: Path) -> ReleaseConfig:
    return load_config(tiny_config)


def images(config: ReleaseConfig, **section: object) -> ReleaseConfig:
    assert config.finetune is not None
    return replace(
        config,
        input=InputConfig(height=32, width=32),
        finetune=replace(config.finetune, architecture="resnet18", **section),
    )


def test_around_the_configs_own_values(config: ReleaseConfig) -> None:
    space = default_space(config)
    assert set(space) == {"learning_rate", "weight_decay", "label_smoothing", "epochs"}
    assert space["epochs"] == Range(low=6, high=24, whole=True)
    rate = space["learning_rate"]
    assert rate.log and rate.low == pytest.approx(3e-4) and rate.high == pytest.approx(1.2e-2)


def test_recipes_where_there_is_something_to_keep(config: ReleaseConfig) -> None:
    space = default_space(images(config, weights="letters", recipe="gradual", augment="rand"))
    assert space["recipe"].values[0] == "gradual" and "full" in space["recipe"].values
    assert space["augment"].values[0] == "rand" and "none" in space["augment"].values
    assert "head_learning_rate" in space
    for key in space:
        assert key not in default_space(images(config, weights="letters"), fixed=(key,))
    assert "recipe" not in default_space(images(config, weights="none"))


def test_a_body_that_terms_hold_is_trained_in_every_trial(config: ReleaseConfig) -> None:
    held = default_space(images(config, weights="letters", l2_sp=L2SpSection(weight=0.1)))
    assert "linear-probe" not in held["recipe"].values
    assert "linear-probe" in default_space(images(config, weights="letters"))["recipe"].values


def test_the_configs_own_values_are_in_it(config: ReleaseConfig) -> None:
    for one in (config, images(config, weights="letters", recipe="full")):
        for key, range in default_space(one).items():
            own = getattr(one.finetune, key)
            assert range.holds("light" if key == "augment" and own is None else own), key


def test_what_is_named_is_what_is_varied() -> None:
    space = read_space(["learning_rate=1e-4:1e-2:log", "weight_decay=0:1", "epochs=2:9",
                        "augment=none,light", "batch_size=16,32,16"])  # fmt: skip
    assert space == {
        "learning_rate": Range(low=1e-4, high=1e-2, log=True),
        "weight_decay": Range(low=0, high=1),
        "epochs": Range(low=2, high=9, whole=True),
        "augment": Choice(values=("none", "light")),
        "batch_size": Choice(values=(16, 32)),
    }


class Highest:
    """A trial that takes the end of each range."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        return high

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        assert type(low) is int
        return high

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return choices[-1]


def test_a_trial_has_a_value_of_each() -> None:
    space = read_space(["epochs=2:9", "weight_decay=0:0.5", "augment=none,light"])
    values = suggest(Highest(), space)
    assert values == {"epochs": 9, "weight_decay": 0.5, "augment": "light"}
    assert all(space[key].holds(value) for key, value in values.items())
    assert not space["epochs"].holds(10) and not space["weight_decay"].holds("a")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rate", "no two values"),
        ("learning_rate=1", "no two values"),
        ("learning_rate=1,1", "no two values"),
        ("augment=[1],[2]", "lists"),
        ("learning_rate=1:", "no two numbers"),
        ("learning_rate=a:b", "no two numbers"),
        ("learning_rate=1:2:3", "no two numbers"),
        ("learning_rate=1:2:log:log", "no two numbers"),
        ("learning_rate=2:1", "LOW below HIGH"),
        ("learning_rate=1:1", "LOW below HIGH"),
        ("learning_rate=0:inf", "finite"),
        ("learning_rate=nan:1", "finite"),
        ("learning_rate=0:1:log", "not above 0"),
        ("epochs=1.5:3", "whole number"),
        ("seed=1:3", "no key"),
        ("l2_sp=1:3", "a table"),
        ("weight_decay=0:1", "set by an option"),
    ],
)
def test_what_is_no_range(text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_space([text], fixed=("weight_decay",))
    assert words in str(refused.value)


def test_a_key_is_varied_once() -> None:
    with pytest.raises(UsageError, match="named twice"):
        read_space(["epochs=1:2", "epochs=2:3"])
