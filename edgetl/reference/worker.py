"""The reference's process: answers and times a classifier over its standard streams.

`python -m edgetl.reference.worker FOLDER THREADS [CODE]` is started by `edgetl.reference.client`,
which documents the outside. It ends when its standard input ends, so it never outlives its client.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from edgetl.errors import BackendError, EdgetlError, WorkerError
from edgetl.input_json import input_to_json
from edgetl.process_exit import end_process
from edgetl.reference.answering import Answering, load_answering
from edgetl.reference.framing import read_frame, write_frame
from edgetl.spec import Array


def serve(worker: Answering, source: IO[bytes], target: IO[bytes]) -> None:
    """Answer requests until one asks to close, or the source ends."""
    while (frame := read_frame(source)) is not None:
        header, arrays = frame
        if header["kind"] == "close":
            return
        try:
            reply, results = _reply(worker, header, arrays)
        except EdgetlError as error:
            reply, results = error_header(error), {}
        except Exception as error:
            reply, results = error_header(_translated(error)), {}
        write_frame(target, reply, results)


def error_header(error: EdgetlError) -> dict[str, Any]:
    """An error as a message, in its four parts."""
    return {
        "kind": "error",
        "error": type(error).__name__,
        "subject": error.subject,
        "got": error.got,
        "expected": error.expected,
        "fix": error.fix,
    }


def _reply(
    worker: Answering, header: Mapping[str, Any], arrays: Mapping[str, Array]
) -> tuple[dict[str, Any], dict[str, Array]]:
    if header["kind"] == "run":
        answers = worker.answer(arrays)
        return {"kind": "answer", "facts": worker.facts()}, answers
    if header["kind"] == "time":
        seconds = worker.time_block(arrays, int(header["calls"]))
        return {"kind": "times", "facts": worker.facts()}, {"seconds": seconds}
    raise WorkerError(
        "reference worker",
        got=f"the request {header['kind']!r}",
        expected="'run' or 'time'",
        fix="use the client and the worker of one edgetl version",
    )


def _translated(error: Exception) -> BackendError:
    return BackendError(
        "reference",
        got=f"{type(error).__name__}: {error}",
        expected="an answer",
        fix="try a smaller batch; if it happens again, check the checkpoint",
    )


def _own_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Take the pipes away from everything else: a library's print would break the framing."""
    source = os.fdopen(os.dup(0), "rb")
    target = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return source, target


def main(arguments: list[str]) -> int:
    """Load, say so, serve. The exit status is 0 unless loading failed."""
    source, target = _own_streams()
    folder, threads, *rest = arguments
    code = Path(rest[0]) if rest else None
    try:
        try:
            worker = load_answering(Path(folder), threads=int(threads), code=code)
        except EdgetlError as error:
            write_frame(target, error_header(error))
            return 1
        ready = {
            "kind": "ready",
            "facts": worker.facts(),
            "input": input_to_json(worker.description.input),
            "classes": len(worker.description.head.classes),
        }
        write_frame(target, ready)
        serve(worker, source, target)
    except BrokenPipeError:
        # The client is gone, and with it everyone who could read a message about it.
        os._exit(0)
    return 0


if __name__ == "__main__":
    end_process(main(sys.argv[1:]))
