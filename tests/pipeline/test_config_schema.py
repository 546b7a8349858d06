from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from edgetl.pipeline.config_help import DESCRIPTIONS, EXAMPLES
from edgetl.pipeline.config_schema import config_schema
from edgetl.train.config import Recipe

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "schemas" / "config-1.json"
EXAMPLES_FOLDER = ROOT / "examples"

GOOD = """
schema = "edgetl.config/1"
name = "tiny"
version = "1.0.0"
[data]
source = "npz:windows.npz"
val = 100
calib = 100
[input]
kind = "several"
[input.parts.accelerometer]
kind = "tensor"
shape = [6, 128]
[input.parts.photo]
height = 96
width = 96
resize_to = [100, 100]
[finetune]
architecture = "python:net:make"
weights = "none"
[gate.policy]
max_flip_rate = 0.02
[gate.policy.objective]
batch = 1
"""


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json.loads(PUBLISHED.read_bytes())


def refusals(schema: dict[str, Any], text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema)
    return [error.message for error in validator.iter_errors(tomllib.loads(text))]


def tables(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("properties"), dict):
            yield value
        for inner in value.values():
            yield from tables(inner)


def test_the_published_schema_is_the_codes(schema) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == json.loads(json.dumps(config_schema())), "run `make docs`"


def test_every_key_is_described_and_every_table_is_closed(schema) -> None:
    seen = 0
    for table in tables(schema):
        assert table["additionalProperties"] is False
        for name, value in table["properties"].items():
            assert value["description"], name
            assert value.get("default", 0) is not None, name
            seen += 1
    assert seen > 80


def test_no_description_is_of_a_key_that_is_no_more(schema) -> None:
    said = {
        value["description"] for table in tables(schema) for value in table["properties"].values()
    }
    assert set(DESCRIPTIONS.values()) == said
    assert set(EXAMPLES) <= set(DESCRIPTIONS)


def test_defaults_and_choices_are_told(schema) -> None:
    keys = {name: value for table in tables(schema) for name, value in table["properties"].items()}
    assert keys["max_accuracy_drop"]["default"] == 0.01
    assert keys["recipe"]["enum"] == list(get_args(Recipe))
    assert "ov-int8" in keys["variants"]["items"]["enum"]


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES_FOLDER.rglob("*.toml")), ids=lambda path: path.name
)
def test_the_examples_are_accepted(schema, path: Path) -> None:
    assert refusals(schema, path.read_text()) == []


def test_parts_and_limits_are_accepted(schema) -> None:
    assert refusals(schema, GOOD) == []


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("val = 100", "vall = 100", "vall"),
        ("max_flip_rate", "max_flips", "max_flips"),
        ("batch = 1", "bach = 1", "bach"),
        ("resize_to", "resize_two", "resize_two"),
        ("[gate.policy]", "[gates.policy]", "gates"),
        ("val = 100", "val = 0", "minimum"),
        ("val = 100", 'val = "100"', "integer"),
        ("npz:windows.npz", "zip:windows.zip", "does not match"),
        ("python:net:make", "resnet", "not valid under any"),
        ('name = "tiny"', 'name = "a/b"', "does not match"),
        ("max_flip_rate = 0.02", "max_flip_rate = 2", "maximum"),
        ('weights = "none"', 'recipe = "two-stag"', "not one of"),
        ("[finetune]", "[quantize]", "not valid under any"),
    ],
)
def test_mistakes_are_refused(schema, right: str, wrong: str, said: str) -> None:
    assert right in GOOD
    assert any(said in message for message in refusals(schema, GOOD.replace(right, wrong)))


def test_a_network_to_train_and_a_trained_one_are_not_both(schema) -> None:
    assert refusals(schema, GOOD + '[model]\nonnx = "model.onnx"\n')
