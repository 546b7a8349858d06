"""The best trial of a search as a config that trains it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetl.errors import UsageError
from edgetl.files import write_atomic
from edgetl.gate.toml_table import read_toml
from edgetl.pipeline.config import load_config
from edgetl.pipeline.init import config_name
from edgetl.pipeline.toml_text import comment, toml_document
from edgetl.pipeline.tune_result import SearchResult

_MARK = "# The best trial of a search, written by `edgetl finetune`"
_SUFFIX = "-tuned"
_NAME_LENGTH = 64


def winner_path(config: Path) -> Path:
    """Where a search of a config writes its winner.

    Example:
        >>> winner_path(Path("configs/digits.toml"))
        PosixPath('configs/digits-tuned.toml')
    """
    return config.with_name(f"{config.stem}{_SUFFIX}.toml")


def check_winner(path: Path, *, force: bool) -> None:
    """Refuse, before a search, to write over a file that no search wrote.

    Raises:
        UsageError: Naming it.
    """
    if force or not path.exists():
        return
    if not path.is_file() or not path.read_text(errors="replace").startswith(_MARK):
        raise UsageError(
            str(path),
            got="a file that no search wrote",
            expected="a place for the best trial's config",
            fix="move it, or add --force to overwrite it",
        )


def winner_text(base: Path, result: SearchResult, fixed: Mapping[str, Any]) -> str:
    """The winner's config: the base's table with the trial's values and the fixed ones.

    Args:
        base: The config that was searched from.
        result: With a best trial.
        fixed: Values that options of the command set.
    """
    best = result.best
    assert best is not None and best.nll is not None
    table = read_toml(base)
    section = dict(table["finetune"])
    for key, value in {**fixed, **best.values}.items():
        section[key] = section.get(key, {}) | value if isinstance(value, dict) else value
    name = config_name(str(table["name"])[: _NAME_LENGTH - len(_SUFFIX)]) + _SUFFIX
    lines = (
        _MARK + f" from {base.name}.",
        comment(
            f"Trial {best.number} of {len(result.trials)}: NLL {best.nll:.4f} on val, the lowest "
            "of them, and so a little below what other data will show."
        ),
        comment(f"Searched: {', '.join(best.values)}. The base's comments are left out."),
    )
    return "\n".join(lines) + "\n" + toml_document(table | {"name": name, "finetune": section})


def write_winner(path: Path, text: str) -> None:
    """Write a config, and prove that it loads.

    Raises:
        ConfigError: When it does not.
    """
    write_atomic(path, text.encode())
    load_config(path)
