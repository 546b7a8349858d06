from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import ConfigDict, Field, StringConstraints
from pydantic.dataclasses import dataclass

from edgetl.errors import ConfigError
from edgetl.gate import load_policy
from edgetl.gate.toml_table import build, read_toml

_STRICT = ConfigDict(extra="forbid", strict=True)
_Pattern = StringConstraints(pattern=r"^[a-z]+$")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Section:
    train: int
    val: int
    calib: int = 1
    title: Annotated[str, _Pattern, Field(description="small letters only")] = "a"
    bare: Annotated[str, _Pattern] = "a"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Whole:
    data: Section


def _written(folder: Path, text: str | bytes) -> Path:
    path = folder / "policy.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alpha = 0.05\nmax_flip_rate = = 1", "line 2, column"),
        ("alpha = 0.05\nalpha = 0.01", "line 2, column"),
        ("[objective]\n[objective]", "twice|line 2"),
        ("alpha = nan", "finite"),
        ("alpha = inf", "finite"),
        ("alpha = '0.05'", "valid number"),
        ("alpha = 2020-01-01", "a date"),
        ("objective = 3", "objective"),
        ("[objective]\nbatch = 1.5", "objective.batch"),
        (b"alpha = 0.05 # \xff", "UTF-8"),
        ("x = " + "[" * 100_000, "nested too deep"),
        ("x = " + "{a=" * 100_000, "nested too deep"),
        ("x" + ".a" * 100_000 + " = 1", "dots"),
        ("[x" + ".a" * 100_000 + "]", "dots"),
        ("\n".join(f"[{'a.' * 200}b{n}]" for n in range(3)), "nested too deep"),
        ("\n".join(f"[{'a.' * 99}b{n}]" for n in range(3)), "unknown key"),
        ("x = " + "9" * 5000, "digits"),
        ("x = 0x" + "f" * 5000, "endless integer"),
        ("# " + "x" * 1_000_000, "over 1 MB"),
    ],
)
def test_one_clear_message_for_each_bad_file(tmp_path, text, message):
    start = time.process_time()
    with pytest.raises(ConfigError, match=message) as caught:
        load_policy(_written(tmp_path, text))
    assert len(str(caught.value)) < 1000
    assert time.process_time() - start < 20  # hours, were dotted keys not bounded


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "missing.toml", tmp_path, tmp_path / "fifo"):
        with pytest.raises(ConfigError, match=r"no such file|not a regular file"):
            read_toml(path)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"train": 1, "vall": 300}, r"data\.vall: .*did you mean 'val'"),
        ({"vall": 300}, r"data\.vall: .*did you mean 'val'"),
        ({"train": 1}, r"add the key 'val'"),
        ({"train": 1, "val": 1, "title": "../x"}, r"data\.title: .*small letters only"),
        ({"train": 1, "val": 1, "bare": "../x"}, r"data\.bare: .*pattern"),
    ],
)
def test_the_mistake_that_was_written_is_the_one_that_is_told(section, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build(Whole, {"data": section}, "c.toml")
    assert ("^[a-z]" in str(caught.value)) == ("bare" in section)
