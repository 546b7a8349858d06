"""What a variant costs before and beside its latency, measured in a process of its own.

    python -m edgetl.bench.footprint < description.json

is that process: it loads the variant, answers once, and prints its figures as JSON. A process
that has loaded anything else before would hide both time and memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgetl import errors
from edgetl.errors import BackendError, EdgetlError
from edgetl.spec import Precision, Variant

_TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Figures of a cold start.

    Attributes:
        load_ms: From nothing to a loaded model: the runtime's import, reading and compiling.
        first_call_ms: The first answer after that, milliseconds.
        peak_rss_mb: The most memory the process ever held, MiB; the interpreter is part of it.
        size_mb: The variant's files, MiB.
    """

    load_ms: float
    first_call_ms: float
    peak_rss_mb: float
    size_mb: float


def measure_footprint(
    variant: Variant,
    files: Mapping[str, Path],
    *,
    threads: int | None = None,
    batch: int = 1,
    timeout_seconds: float = _TIMEOUT_SECONDS,
) -> Footprint:
    """Load a variant and call it once in a fresh process.

    Args:
        variant: What to load; its input is zeros, since values do not change the cost.
        files: Where each of the variant's files lies.
        threads: As for `edgetl.backends.registry.load`.
        batch: The size of the first batch.
        timeout_seconds: When to give up.

    Raises:
        UnavailableError: When the backend is not installed here.
        BackendError: When the process fails or does not end.
    """
    description = {
        "variant": {
            "id": variant.id,
            "backend": variant.backend,
            "precision": variant.precision,
            "files": variant.files,
            "settings": dict(variant.settings),
        },
        "files": {name: str(path) for name, path in files.items()},
        "threads": threads,
        "batch": batch,
    }
    try:
        process = subprocess.run(
            [sys.executable, "-P", "-m", "edgetl.bench.footprint"],
            input=json.dumps(description),
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            # -P keeps the working folder off the path, so this process's path is handed on.
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _failed(variant.id, f"no answer within {timeout_seconds:g} s") from error
    try:
        answer = json.loads(process.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        last = process.stderr.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        raise _failed(variant.id, last[0]) from error
    if "error" in answer:
        kind = getattr(errors, answer["kind"])
        raise kind(answer["error"][0], **dict(zip(_PARTS, answer["error"][1:], strict=True)))
    size = sum(Path(path).stat().st_size for path in files.values())
    return Footprint(size_mb=size / 2**20, **answer)


_PARTS = ("got", "expected", "fix")


def _failed(name: str, got: str) -> BackendError:
    return BackendError(
        f"footprint of '{name}'",
        got=got,
        expected="a process that loads the variant and answers once",
        fix="load the variant by itself to see what is wrong",
    )


def cold_start(description: Mapping[str, Any]) -> dict[str, float]:
    """Load the described variant in this process and answer once; what the process reports."""
    variant = Variant(
        **description["variant"]
        | {
            "precision": Precision(description["variant"]["precision"]),
            "files": tuple(description["variant"]["files"]),
        }
    )
    start = time.perf_counter()
    # Here, because importing the runtime is part of what a device waits for.
    from edgetl.backends.registry import load

    files = {name: Path(path).read_bytes() for name, path in description["files"].items()}
    backend = load(variant, files, threads=description["threads"])
    loaded = time.perf_counter()
    inputs = {
        name: np.zeros([description["batch"] if n is None else n for n in spec.shape], spec.dtype)
        for name, spec in backend.input_spec.items()
    }
    ready = time.perf_counter()
    backend.run(inputs)
    answered = time.perf_counter()
    backend.close()
    return {
        "load_ms": (loaded - start) * 1e3,
        "first_call_ms": (answered - ready) * 1e3,
        "peak_rss_mb": peak_rss_mb(),
    }


def peak_rss_mb() -> float:
    """The most memory this process has held so far, MiB."""
    # Not ru_maxrss first: on Linux a child inherits its parent's peak there across exec.
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    """Read a description from standard input, print the figures or the error as one JSON line."""
    try:
        answer: dict[str, Any] = cold_start(json.load(sys.stdin))
    except EdgetlError as error:
        parts = [error.subject, error.got, error.expected, error.fix]
        answer = {"error": parts, "kind": type(error).__name__}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
