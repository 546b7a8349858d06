"""The preprocessing of published weights, asked of a process of its own: no torch on this side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import edgetl
from edgetl import errors
from edgetl.errors import EdgetlError, WorkerError
from edgetl.input_json import input_from_json
from edgetl.spec import ImageInput

_TAIL = 2000


def read_preset(kind: Literal["torchvision", "timm"], name: str) -> ImageInput:
    """What `edgetl.reference.presets` says, without importing torch here; takes seconds.

    Args:
        kind: The library that publishes the weights.
        name: As `input_from_torchvision` or `input_from_timm` takes it.

    Raises:
        ConfigError: When there is no such name, or an `ImageInput` cannot say its preprocessing.
        MissingExtraError: When the library is not installed.
        WorkerError: When the process fails.

    Example::

        spec = read_preset("torchvision", "ResNet18_Weights.IMAGENET1K_V1")
    """
    home = str(Path(edgetl.__file__).resolve().parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        done = subprocess.run(
            # A name that begins with a dash stays a name: the module parses no options.
            [sys.executable, "-P", "-m", "edgetl.reference.presets", kind, name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            check=False,
        )
    except (OSError, ValueError) as error:
        raise _failed(str(error)) from error
    said = _last_line(done)
    if "input" not in said:
        raise _error_from(said)
    spec = input_from_json(said["input"])
    assert isinstance(spec, ImageInput)
    return spec


def _last_line(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    try:
        said = json.loads(done.stdout.splitlines()[-1])
        if isinstance(said, dict):
            return said
    except (IndexError, ValueError):
        pass
    words = " / ".join(done.stderr.decode(errors="replace")[-_TAIL:].split("\n")).strip(" /")
    raise _failed(f"exit status {done.returncode}, saying: {words or 'nothing'}")


def _error_from(said: dict[str, Any]) -> EdgetlError:
    kind = getattr(errors, str(said.get("error")), None)
    if not (isinstance(kind, type) and issubclass(kind, EdgetlError)):
        kind = WorkerError
    subject, got, expected, fix = (
        str(said.get(part)) for part in ("subject", "got", "expected", "fix")
    )
    return kind(subject, got=got, expected=expected, fix=fix)


def _failed(got: str) -> WorkerError:
    return WorkerError(
        "process that reads a preset",
        got=got,
        expected="an input, or why there is none",
        fix="check that torch works: python -c 'import torch'",
    )
