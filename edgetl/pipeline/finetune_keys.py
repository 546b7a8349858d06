"""Values of ``[finetune]`` from a command line: ``KEY=VALUE``, and the keys that there are."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from edgetl.errors import UsageError
from edgetl.gate.toml_table import build
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.sections import FinetuneSection

_TABLES = ("pretrain", "l2_sp", "keep_answers", "distillation", "previous", "source")


def plain_keys() -> dict[str, Any]:
    """The keys of ``[finetune]`` that are no tables, with their defaults; None where there is none.

    Example:
        >>> plain_keys()["epochs"]
        10
    """
    assert is_dataclass(FinetuneSection)
    return {
        one.name: None if one.default is MISSING else one.default
        for one in fields(FinetuneSection)
        if one.name not in _TABLES
    }


def check_key(key: str, option: str) -> None:
    """Refuse what is no plain key of ``[finetune]``.

    Raises:
        UsageError: With the nearest key.
    """
    known = plain_keys()
    if key in known:
        return
    near = difflib.get_close_matches(key, known, n=1)
    raise UsageError(
        f"{option} {key}",
        got="no key of [finetune]" if key not in _TABLES else "a table of [finetune]",
        expected="one of " + ", ".join(known),
        fix=f"did you mean '{near[0]}'?" if near else "choose one of them",
    )


def read_settings(texts: Iterable[str]) -> dict[str, Any]:
    """What ``--set KEY=VALUE`` says, each once; ``TABLE.KEY=VALUE`` sets a key of a table.

    Raises:
        UsageError: For an unknown key, one that is set twice, or no value.

    Example:
        >>> read_settings(["epochs=3", "augment=light", "l2_sp.weight=0.1"])
        {'epochs': 3, 'augment': 'light', 'l2_sp': {'weight': 0.1}}
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not value:
            raise UsageError(
                f"--set {text}",
                got="no KEY=VALUE",
                expected="a key of [finetune] and its value",
                fix="write it as --set weight_decay=0.05",
            )
        table, dot, inner = key.partition(".")
        if dot and table in _TABLES:
            target, name = found.setdefault(table, {}), inner
        else:
            check_key(key, "--set")
            target, name = found, key
        if name in target:
            raise UsageError(
                f"--set {text}",
                got=f"{key}, which is set already",
                expected="each key once",
                fix="keep the one that is meant",
            )
        target[name] = read_value(value)
    return found


def read_value(text: str) -> Any:
    """A value as TOML has it; a text needs no quotation marks.

    Example:
        >>> [read_value(text) for text in ("3", "1e-3", "true", "light", '["a"]')]
        [3, 0.001, True, 'light', ['a']]
    """
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return table["value"] if list(table) == ["value"] else text


def with_values(config: ReleaseConfig, values: Mapping[str, Any]) -> ReleaseConfig:
    """A config with other values in ``[finetune]``.

    Raises:
        ConfigError: For a value that its key does not take.
    """
    table = config.to_table()
    section = dict(table["finetune"])
    for key, value in values.items():
        section[key] = (section.get(key) or {}) | value if isinstance(value, dict) else value
    return build(ReleaseConfig, table | {"finetune": section}, "[finetune]")
