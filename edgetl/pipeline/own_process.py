"""A function in a process of its own: what trains never reaches the command's own process.

For work that belongs to no stage: a search, a baseline, a machine that only takes part. Stages have
`edgetl.pipeline.process`, whose environment this shares.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from edgetl.errors import EdgetlError, WorkerError
from edgetl.pipeline.events import Event, Listener, Reporter
from edgetl.pipeline.process import stage_environment

# As for a stage: two seconds to clean up.
_GRACE_SECONDS = 2.0


def in_own_process(
    function: Callable[..., Any], *arguments: object, stage: str, log: Path, listen: Listener
) -> Any:
    """Call ``function(reporter, *arguments)`` in a new process and wait for its result.

    Args:
        function: At the top of a module, so that the new process can import it.
        arguments: Picklable, and so is the result.
        stage: The name that its events come under.
        log: Takes what the process prints.
        listen: Hears its events.

    Raises:
        EdgetlError: What the function raised.
        WorkerError: When the process died without saying why.
        KeyboardInterrupt: After the process was stopped.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(
        target=_serve, args=(function, arguments, stage, str(log), theirs), daemon=False
    )
    with _as_a_stage(stage):
        child.start()
    theirs.close()
    try:
        outcome = _outcome(ours, listen)
        child.join()
    except BaseException:
        _stop(child)
        raise
    finally:
        ours.close()
    if isinstance(outcome, EdgetlError):
        raise outcome
    if outcome is None:
        raise _died(stage, child.exitcode, log)
    return outcome[0]


@contextmanager
def _as_a_stage(stage: str) -> Iterator[None]:
    """The environment of a stage, for what is started meanwhile."""
    wanted = {
        name: value
        for name, value in stage_environment(stage).items()
        if os.environ.get(name) != value
    }
    before = {name: os.environ.get(name) for name in wanted}
    # Only what differs: a thread of a library may be reading the environment meanwhile.
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _outcome(channel: Connection, listen: Listener) -> EdgetlError | tuple[Any] | None:
    """The result, in a tuple, or the error; None when the process ended without either."""
    while True:
        try:
            message = channel.recv()
        except (EOFError, OSError):
            return None
        if not isinstance(message, Event):
            return message  # type: ignore[no-any-return]
        listen(message)


def _stop(child: SpawnProcess) -> None:
    if child.pid is not None and child.is_alive():
        os.kill(child.pid, signal.SIGINT)
    child.join(_GRACE_SECONDS)
    if child.is_alive():
        child.kill()
        child.join()


def _died(stage: str, code: int | None, log: Path) -> WorkerError:
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    return WorkerError(
        stage,
        got=f"its process ended with {code}" + (f": {lines[-1]}" if lines else ""),
        expected="a result",
        fix=f"see {log}; run the same command again to resume",
    )


def _serve(
    function: Callable[..., Any],
    arguments: tuple[object, ...],
    stage: str,
    log: str,
    channel: Connection,
) -> None:
    # Its own session: an interrupt from the terminal reaches it once, through the parent.
    os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    try:
        channel.send((function(Reporter(stage, channel.send), *arguments),))
    except EdgetlError as error:
        channel.send(error)
    except KeyboardInterrupt:
        os._exit(130)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
