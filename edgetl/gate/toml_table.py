"""TOML read strictly, and pydantic's complaints told as one ConfigError in four parts.

Policies and release configs use the same two functions: `read_toml` and `build`.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

from edgetl.errors import ConfigError
from edgetl.extras import extra

with extra("gate"):
    from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

_MAX_BYTES = 1_000_000
# tomllib's time grows with the square of a dotted key's parts: a key of 100,000 parts takes hours.
_MAX_DOTS = 256
_UNEXPECTED = "unexpected_keyword_argument"
_MISSING = ("missing", "missing_argument")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file into plain tables.

    Args:
        path: A regular file of at most 1 MB, in UTF-8.

    Raises:
        ConfigError: When there is no such file, or it is too large, not UTF-8, nested too deep,
            or not TOML (the message gives line and column; a key written twice is such a case).

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     path = Path(root) / "policy.toml"
        ...     _ = path.write_text("alpha = 0.05")
        ...     read_toml(path)
        {'alpha': 0.05}
    """
    data = _read_bounded(path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(str(path), f"bytes that are not UTF-8 ({error})", "save the file as UTF-8")
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > _MAX_DOTS:
            _refuse(
                str(path),
                f"{line.count('.')} dots (at line {number}, column 1)",
                f"write at most {_MAX_DOTS} dots on a line",
            )
    try:
        # The newline lets a mistake on the last line be told with its line and column.
        return tomllib.loads(text + "\n")
    except ValueError as error:
        # Mostly TOMLDecodeError; an integer of thousands of digits is a bare ValueError.
        _refuse(str(path), str(error), "correct the line; a key may be written once only")
    except RecursionError:
        _refuse(str(path), "tables or arrays nested too deep", "remove the nesting")


def build(cls: type[T], table: dict[str, Any], subject: str) -> T:
    """Make a strict pydantic dataclass, with those nested in it, from a TOML table.

    Types are strict as in JSON: an integer is a valid float, an array a valid tuple, and nothing
    else is converted.

    Args:
        cls: A pydantic dataclass.
        table: As `read_toml` returns it.
        subject: What to call the table in an error: the file's name.

    Raises:
        ConfigError: For an unknown key (the nearest known one is named), a missing key, a wrong
            type, NaN or infinity, or a value out of its range.

    Example:
        >>> from edgetl.gate.policy import Policy
        >>> build(Policy, {"alpha": 0.01}, "policy.toml").alpha
        0.01
    """
    try:
        # By way of JSON, because in strict mode pydantic takes no dict for a dataclass otherwise.
        document = json.dumps(table)
    except RecursionError:
        _refuse(subject, "tables or arrays nested too deep", "remove the nesting")
    except (TypeError, ValueError):
        _refuse(
            subject,
            "a date, a time or an endless integer",
            "write numbers, texts, booleans, arrays and tables",
        )
    try:
        return TypeAdapter(cls).validate_json(document)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":  # pydantic's own limit of 200 levels
            _refuse(subject, "tables or arrays nested too deep", "remove the nesting")
        raise _explained(error, cls, subject) from error


def explains_itself(cls: type[T]) -> type[T]:
    """Class decorator: a pydantic dataclass whose constructor raises ConfigError as well.

    Put it above pydantic's own decorator.
    """
    original = cls.__init__

    @functools.wraps(original)
    def construct(self: T, *args: Any, **values: Any) -> None:
        try:
            original(self, *args, **values)
        except ValidationError as error:
            raise _explained(error, cls, cls.__name__) from error

    cls.__init__ = construct  # type: ignore[assignment]
    return cls


def _read_bounded(path: Path) -> bytes:
    if not path.is_file():
        kind = "no such file" if not path.exists() else "something that is not a regular file"
        _refuse(str(path), kind, "give the path of a TOML file")
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        _refuse(str(path), error.strerror or str(error), "make the file readable")
    if len(data) > _MAX_BYTES:
        _refuse(str(path), "a file over 1 MB", "keep data out of the config")
    return data


def _refuse(subject: str, got: str, fix: str) -> NoReturn:
    raise ConfigError(subject, got=got, expected="a TOML file of at most 1 MB", fix=fix)


def _explained(error: ValidationError, cls: type[Any], subject: str) -> ConfigError:
    first = _telling(error.errors(include_url=False))
    where = tuple(part for part in first["loc"] if isinstance(part, str | int))
    name = ".".join(str(part) for part in where)
    known = _keys(_table_at(cls, where[:-1]))
    kind, value = first["type"], _short(first["input"])
    subject = f"{subject}: {name}" if name else subject
    if kind == _UNEXPECTED:
        near = difflib.get_close_matches(str(where[-1]), known, n=1)
        fix = f"did you mean '{near[0]}'?" if near else "remove the key or correct its name"
        return ConfigError(
            subject, got="an unknown key", expected="any of " + ", ".join(known), fix=fix
        )
    if kind in _MISSING:
        return ConfigError(
            subject, got="nothing", expected="a value", fix=f"add the key '{where[-1]}'"
        )
    expected = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        expected = _described(cls, where) or expected
    return ConfigError(subject, got=value, expected=expected, fix=_fix_of_value(first))


def _fix_of_value(error: Any) -> str:
    if error["type"] != "literal_error":
        return "correct the value"
    # Pydantic gives the choices as one text: 'a', 'b' or 'c'.
    choices = re.findall(r"'([^']*)'", error["ctx"]["expected"])
    near = difflib.get_close_matches(str(error["input"]), choices, n=1)
    return f"did you mean '{near[0]}'?" if near else "correct the value"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _telling(errors: Sequence[Any]) -> Any:
    """One message for one mistake: the rest often follow from the first.

    A misspelt key is also a missing one, and the one that was written tells more.
    """
    first = errors[0]
    if first["type"] not in _MISSING:
        return first
    return next((error for error in errors if error["type"] == _UNEXPECTED), first)


def _described(cls: type[Any], where: tuple[str | int, ...]) -> str | None:
    """A key's own description, which says in words what its pattern means."""
    keys = [part for part in where if isinstance(part, str)]
    if not keys:
        return None
    table = _table_at(cls, tuple(keys[:-1]))
    # The fields of a pydantic dataclass; a plain one has none.
    described = getattr(table, "__pydantic_fields__", {}).get(keys[-1])
    return None if described is None else described.description


def _table_at(cls: type[Any], where: tuple[str | int, ...]) -> type[Any]:
    """The dataclass found by walking `where` down from `cls`."""
    for part in where:
        hint = get_type_hints(cls).get(str(part))
        nested = [kind for kind in (hint, *get_args(hint)) if _is_table(kind)]
        if not nested:
            break
        cls = nested[0]
    return cls


def _keys(cls: type[Any]) -> list[str]:
    return [field.name for field in fields(cls)] if is_dataclass(cls) else []


def _is_table(kind: object) -> bool:
    return isinstance(kind, type) and is_dataclass(kind)
