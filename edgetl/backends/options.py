"""Reads what a variant asks of its backend; an unknown wish is refused, not ignored."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from edgetl.errors import ConfigError, ModelError
from edgetl.spec import Variant


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
