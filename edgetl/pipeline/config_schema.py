"""The release config as a JSON Schema, made from the code that reads it: for editors.

It is published as docs/schemas/config-1.json, and `edgetl init --schema` writes it beside a config.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgetl.backends import registry
from edgetl.extras import extra
from edgetl.gate.policy import Unstated
from edgetl.pipeline.candidates import CANDIDATES
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.config_help import DESCRIPTIONS, EXAMPLES
from edgetl.reference.architectures import ARCHITECTURES

with extra("gate"):
    from pydantic import TypeAdapter
    from pydantic.json_schema import GenerateJsonSchema

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ARCHITECTURE = [
    {"enum": list(ARCHITECTURES)},
    {"pattern": "^timm:.+"},
    {"pattern": "^python:[^:]+:[^:]+$"},
]
# What the types alone do not say, and a reader of the config refuses.
_LIMITS: dict[str, dict[str, Any]] = {
    "data.source": {"pattern": "^(builtin:(digits|letters)|(idx|folder|csv|npz|huggingface):.+)$"},
    "finetune.architecture": {"anyOf": _ARCHITECTURE},
    "model.architecture": {"anyOf": _ARCHITECTURE},
    "model.onnx": {"pattern": r"\.onnx$"},
    "model.transform": {"pattern": "^python:[^:]+:[^:]+$"},
    "compile.variants": {"items": {"enum": list(CANDIDATES)}, "minItems": 1, "uniqueItems": True},
    "gate.required": {"items": {"enum": list(registry.names())}, "minItems": 1},
}


class _Generator(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        # A limit that is not stated is a float of its own kind, which pydantic does not know.
        return float(dft) if isinstance(dft, Unstated) else super().encode_default(dft)


def config_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a release config: every key with what it is and its default.

    Example:
        >>> config_schema()["properties"]["seed"]["default"]
        0
    """
    schema = TypeAdapter(ReleaseConfig).json_schema(schema_generator=_Generator)
    for path, table, name in _keys(schema, schema, ""):
        table["properties"][name] = _described(path, table["properties"][name])
    for definition in schema["$defs"].values():
        # Written for readers of the code; each section has its own sentence where it is used.
        definition.pop("description", None)
        definition.pop("title", None)
    return {
        "$schema": _DIALECT,
        **schema,
        "title": "edgetl.config/1",
        "description": "A release of a classifier: `edgetl release CONFIG` reads it.",
        # A network to train, or one that is trained.
        "oneOf": [{"required": ["finetune"]}, {"required": ["model"]}],
    }


def _keys(
    root: dict[str, Any], table: dict[str, Any], prefix: str
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Each key's dotted name, the table that it stands in, and its name there; inner ones first.

    Inner ones first, because a description beside a reference hides where it leads.
    """
    for name, value in table["properties"].items():
        path = f"{prefix}{name}"
        inner = _table(root, value)
        if inner is not None:
            yield from _keys(root, inner, "input." if path == "input.parts" else f"{path}.")
    for name in list(table["properties"]):
        yield f"{prefix}{name}", table, name


def _table(root: dict[str, Any], value: dict[str, Any]) -> dict[str, Any] | None:
    """The definition that a key's value leads to, when it is a table."""
    inside = (value, *value.get("anyOf", ()), *value.get("patternProperties", {}).values())
    for part in inside:
        if "$ref" in part:
            definition: dict[str, Any] = root["$defs"][part["$ref"].rpartition("/")[2]]
            return definition
    return None


def _described(path: str, value: dict[str, Any]) -> dict[str, Any]:
    value = _without_null(value)
    value.pop("title", None)
    if isinstance(value.get("default"), dict):
        # A table's defaults stand at its own keys.
        del value["default"]
    described = {"description": DESCRIPTIONS[path], **value, **_LIMITS.get(path, {})}
    described["description"] = DESCRIPTIONS[path]
    if path in EXAMPLES:
        described["examples"] = list(EXAMPLES[path])
    return described


def _without_null(value: dict[str, Any]) -> dict[str, Any]:
    """TOML has no null: a key that may be None is one that may be left out."""
    kinds = [kind for kind in value.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return dict(value)
    rest = {
        name: inner
        for name, inner in value.items()
        if name != "anyOf" and not (name == "default" and inner is None)
    }
    return {**kinds[0], **rest}
