"""A stage in a process of its own, and what travels between it and its parent.

The parent writes the job as one line of JSON to the child's standard input and keeps it open: its
end tells the child that the parent is gone. The child answers with one event or error a line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from edgetl import errors
from edgetl.errors import EdgetlError, WorkerError
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.events import Event, Listener
from edgetl.pipeline.processes import ALONE, Launch
from edgetl.pipeline.run_folder import RunFolder

# Two seconds to clean up leave a second of the three in which an interrupt must be over.
_GRACE_SECONDS = 2.0

_ENVIRONMENT = {
    # Set orders and library-made names are the same in every run.
    "PYTHONHASHSEED": "0",
    # cuBLAS is deterministic only with a fixed workspace.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "ORT_DISABLE_TELEMETRY": "1",
}


# Stages that measure: there PyTorch runs as it ships.
_MEASURING = ("bench", "screen", "measure")

_UNMEASURED = {
    # Where cores are shared, threads that spin at barriers keep the last one from its core:
    # a training step can take 30 times as long (docs/decisions.md).
    "OMP_WAIT_POLICY": "PASSIVE",
    # glibc returns large blocks to the kernel at once, and PyTorch asks for each activation anew:
    # a fifth of its time went into zeroing pages. Memory is kept until the process ends.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1),
}


def run_in_process(
    stage: str,
    key: str,
    config: ReleaseConfig,
    folder: RunFolder,
    listen: Listener,
    *,
    keep_open: tuple[int, ...] = (),
    module: str = "edgetl.pipeline.worker",
    launch: Launch = ALONE,
) -> None:
    """Run one stage and wait for it.

    Args:
        stage: Its name.
        key: What its result will be known by.
        config: The release's.
        folder: The run's.
        listen: Hears its events.
        keep_open: File handles that the process inherits, such as the run's lock.
        module: What the process runs: a release's worker, or another that speaks as it does.
        launch: In how many processes to train.

    Raises:
        EdgetlError: What the stage raised, the same class with the same parts.
        WorkerError: The process died without saying why; its last words are in the message.
        KeyboardInterrupt: After the stage was stopped and its temporary files removed.
    """
    log = folder.root / "logs" / f"{stage}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=stage_environment(stage),
            # Its own session: an interrupt from the terminal reaches it once, through the parent.
            start_new_session=True,
            pass_fds=keep_open,
        )
    assert child.stdin is not None and child.stdout is not None
    try:
        job = {
            "stage": stage,
            "key": key,
            "config": config.to_table(),
            "root": str(folder.root),
            "launch": launch.to_json(),
        }
        _send(child.stdin, job)
        failure = _listen(child.stdout, listen)
        child.wait()
    except BaseException:
        _stop(child)
        folder.clear_leftovers(stage)
        raise
    finally:
        child.stdin.close()
        child.stdout.close()
    if failure is not None:
        raise failure
    # Code of the user's own may end the process with status 0: only a finished stage has a record.
    if child.returncode != 0 or (folder.record(stage) or {}).get("key") != key:
        folder.clear_leftovers(stage)
        raise _died(stage, child.returncode, log)


def error_to_json(error: EdgetlError) -> dict[str, str]:
    """An error as plain data: its class and its four parts."""
    return {
        "class": type(error).__name__,
        "subject": error.subject,
        "got": error.got,
        "expected": error.expected,
        "fix": error.fix,
    }


def error_from_json(value: dict[str, str]) -> EdgetlError:
    """The inverse of `error_to_json`."""
    kind: type[EdgetlError] = getattr(errors, value["class"])
    return kind(value["subject"], got=value["got"], expected=value["expected"], fix=value["fix"])


def stage_environment(stage: str) -> dict[str, str]:
    """The stage's environment; what the user set stays."""
    environment = os.environ | _ENVIRONMENT
    return environment if stage in _MEASURING else _UNMEASURED | environment


def _send(stream: IO[bytes], job: dict[str, Any]) -> None:
    try:
        stream.write(json.dumps(job).encode() + b"\n")
        stream.flush()
    except BrokenPipeError:
        # The child died at once; its exit code and log say why.
        return


def _listen(stream: IO[bytes], listen: Listener) -> EdgetlError | None:
    failure = None
    for line in stream:
        message = json.loads(line)
        if "error" in message:
            failure = error_from_json(message["error"])
        else:
            listen(Event(**message["event"]))
    return failure


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
    try:
        child.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _died(stage: str, code: int, log: Path) -> WorkerError:
    lines = log.read_text(errors="replace").strip().splitlines()
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    memory = " (out of memory, perhaps)" if code == -signal.SIGKILL else ""
    return WorkerError(
        f"stage {stage}",
        got=f"{how}{memory}" + (f": {lines[-1]}" if lines else ""),
        expected="the stage to finish",
        fix=f"see {log}; run the same command again to resume",
    )
