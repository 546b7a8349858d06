"""The process in which one stage runs: `python -m edgetl.pipeline.worker`, driven by process.py."""

from __future__ import annotations

import ctypes
import importlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgetl.errors import EdgetlError, WorkerError
from edgetl.files import atomic_folder
from edgetl.gate.toml_table import build
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.events import Event, Reporter
from edgetl.pipeline.graph import STAGES, key_inputs
from edgetl.pipeline.process import error_to_json
from edgetl.pipeline.processes import Launch
from edgetl.pipeline.run_folder import RunFolder
from edgetl.process_exit import end_process

_PR_SET_PDEATHSIG = 1


def main(run: Callable[[dict[str, Any], Reporter], None] | None = None) -> int:
    """Run the job that standard input names; 0 when it is done, 130 when interrupted.

    Args:
        run: What a job is run by: `run_job`, unless another kind of job is given.
    """
    _die_with_parent()
    channel = _claim_stdout()
    # Unbuffered: the watcher thread may block in read while the interpreter shuts down.
    job = json.loads(_read_line(0))
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def send(message: dict[str, Any]) -> None:
        os.write(channel, json.dumps(message).encode() + b"\n")

    def hear(event: Event) -> None:
        send({"event": event.to_json()})

    reporter = Reporter(job["stage"], hear)
    logging.getLogger("edgetl").addHandler(_Notes(reporter))
    try:
        (run or run_job)(job, reporter)
    except EdgetlError as error:
        send({"error": error_to_json(error)})
        return error.exit_code
    except OSError as error:
        send({"error": error_to_json(_system_error(error))})
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


class _Notes(logging.Handler):
    """What a room warns of is said with the stage, and not only written to its log."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.note(f"warning: {record.getMessage()}")


def run_job(job: dict[str, Any], reporter: Reporter) -> None:
    """Run one stage into a temporary folder that takes its place when it is whole."""
    config = build(ReleaseConfig, job["config"], "config")
    folder = RunFolder(Path(job["root"]))
    stage = next(stage for stage in STAGES if stage.name == job["stage"])
    inputs = key_inputs(stage, config, folder)
    context = StageContext(
        config=config,
        folder=folder,
        reporter=reporter,
        scratch=folder.scratch(stage.name, job["key"]),
        launch=Launch(**job["launch"]),
    )
    module = importlib.import_module(f"edgetl.pipeline.stages.{stage.name}")
    began = time.monotonic()
    with atomic_folder(folder.stage(stage.name)) as out:
        module.run(context, out)
        folder.write_record(out, key=job["key"], inputs=inputs, seconds=time.monotonic() - began)
    folder.drop_scratch(stage.name)


def _system_error(error: OSError) -> EdgetlError:
    """A full disk or a missing file or permission, told in the system's own words."""
    lost = isinstance(error, FileNotFoundError)
    mended = (
        "put the file back, or remove its folder" if lost else "free space or change permissions"
    )
    return WorkerError(
        str(error.filename or "system"),
        got=error.strerror or str(error),
        expected="files that can be read and written",
        fix=f"{mended}, then run the same command again to resume",
    )


def _claim_stdout() -> int:
    """Keep the real standard output for events; whatever libraries print goes to the log."""
    channel = os.dup(1)
    os.dup2(2, 1)
    return channel


def _read_line(handle: int) -> bytes:
    line = bytearray()
    while (byte := os.read(handle, 1)) not in (b"", b"\n"):
        line += byte
    return bytes(line)


def _die_with_parent() -> None:
    """Where the kernel can, let it end this process in the moment in which the parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_with_parent() -> None:
    # Also where the kernel cannot, and when the parent ended before it was asked.
    while os.read(0, 1024):
        pass
    # The parent is gone: nobody would hear how a stage that goes on ends.
    os._exit(1)


if __name__ == "__main__":
    end_process(main())
