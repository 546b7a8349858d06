"""Reads what a variant asks of its backend; an unknown wish is refused, not ignored."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from edgetl.errors import ConfigError, ModelError
from edgetl.spec import Variant

# More rows than any device answers at once; a model compiled for them would take all memory.
_MAX_COUNT = 1024


def model_files(variant: Variant, files: Mapping[str, bytes], count: int) -> tuple[bytes, ...]:
    """The bytes of the variant's files, in the variant's order.

    Raises:
        ModelError: When the variant does not have `count` files, or one was not given.
    """
    missing = [name for name in variant.files if name not in files]
    if len(variant.files) != count or missing:
        raise ModelError(
            variant.id,
            got=f"the files {list(variant.files)}" + (f" without {missing}" if missing else ""),
            expected=f"{count} file(s) for the backend '{variant.backend}'",
            fix="pass the bytes of every file that the variant lists",
        )
    return tuple(files[name] for name in variant.files)


def no_other_settings(variant: Variant, known: set[str]) -> None:
    """Refuse settings that the backend does not have.

    Raises:
        ConfigError: Naming the unknown key and the nearest known one.
    """
    for key in variant.settings:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            raise ConfigError(
                f"settings of {variant.id}",
                got=f"the unknown key '{key}'",
                expected=f"only {', '.join(sorted(known))}",
                fix=f"did you mean '{near[0]}'?" if near else "remove it",
            )


def text_setting(variant: Variant, key: str, default: str) -> str:
    """A setting that is a text.

    Raises:
        ConfigError: When it is something else.
    """
    value = variant.settings.get(key, default)
    if not isinstance(value, str):
        raise ConfigError(
            f"settings of {variant.id}, '{key}'",
            got=repr(value),
            expected=f"a text such as '{default}'",
            fix="put it in quotes",
        )
    return value


def count_setting(variant: Variant, key: str) -> int | None:
    """A setting that is a whole number of at least 1; None when it is not set.

    Raises:
        ConfigError: When it is something else.
    """
    value = variant.settings.get(key)
    if value is not None and (type(value) is not int or not 1 <= value <= _MAX_COUNT):
        raise ConfigError(
            f"settings of {variant.id}, '{key}'",
            got=repr(value),
            expected=f"a whole number from 1 to {_MAX_COUNT}",
            fix=f"set {key} = 1, or remove it",
        )
    return value
