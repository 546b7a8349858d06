"""Training in several processes, on one machine or several: torchrun's elastic agent starts them.

The stage stays one process, which holds the run's lock, its folder and its voice; only the
training itself is shared out. Each process runs the same function, in the environment that
``torchrun`` gives (https://docs.pytorch.org/docs/stable/elastic/run.html); the first one's
progress and result come back to the stage.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.errors import EdgetlError, UnavailableError, WorkerError
from edgetl.extras import extra
from edgetl.files import parse_json, write_json
from edgetl.gate.toml_table import build
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.events import Event, Reporter
from edgetl.pipeline.processes import Launch, check_launch
from edgetl.pipeline.run_folder import RunFolder

if TYPE_CHECKING:
    from torch.distributed.launcher.api import LaunchConfig

    from edgetl.train.loop import FinetuneResult

Train = Callable[[StageContext, str, int], "FinetuneResult"]
"""Trains in the calling process: the context, the weights to start from, and how many processes
share the machine's threads."""

STAGE = "finetune"
_JOB = Path(".work") / "finetune-processes.json"
# Machines are started by hand or by a cluster's queue, minutes apart.
_WAIT_SECONDS = 900
_POLL_SECONDS = 0.1


def check_devices(launch: Launch, device: str) -> None:
    """Refuse more processes than GPUs, where training is on GPUs. Asks torch.

    Raises:
        UnavailableError: With how many there are.
    """
    with extra("train"):
        import torch

        from edgetl.train.session import chosen_device
    if launch.alone or chosen_device(device) == "cpu":  # type: ignore[arg-type]
        return
    present = torch.cuda.device_count()
    if launch.processes > present:
        raise UnavailableError(
            f"--processes {launch.processes}",
            got=f"{present} GPU{'' if present == 1 else 's'}",
            expected="a GPU for each process",
            fix=f'start {present} at most, or set device = "cpu" in [finetune]',
        )


def train_together(
    train: Train, context: StageContext, weights: str, launch: Launch
) -> FinetuneResult:
    """Train in several processes and wait; on the machine of rank 0, in the stage's process.

    Args:
        train: At the top of a module, so that each process can import it.
        context: The stage's; its reporter hears the first process.
        weights: What to start from: a word or a file that every machine can read.
        launch: How many processes, and where.

    Raises:
        EdgetlError: What a process raised.
        WorkerError: When a process died without saying why.
    """
    check_launch(launch, context.config)
    job = context.folder.root / _JOB
    job.parent.mkdir(exist_ok=True)
    write_json(
        job,
        {
            "config": context.config.to_table(),
            "scratch": str(context.scratch.relative_to(context.folder.root)),
            "weights": weights,
        },
    )
    try:
        found = _run(train, context.folder.root, context.reporter, launch, log=context.scratch)
    finally:
        job.unlink(missing_ok=True)
    if found is None:
        raise WorkerError(
            "training in several processes",
            got="no result of the first one",
            expected="its result",
            fix="run the same command again to resume",
        )
    return found


def take_part(reporter: Reporter, root: Path, launch: Launch, device: str, log: Path) -> None:
    """Train on a machine of another rank than 0, which holds the run's folder too (shared).

    Waits up to 15 minutes for machine 0. Nothing is written here but a log.

    Raises:
        EdgetlError: As `train_together`.
        UnavailableError: When machine 0 does not answer.
    """
    from edgetl.pipeline.stages.finetune import train

    check_devices(launch, device)
    reporter.note(f"machine {launch.rank} of {launch.machines}: waiting for {launch.address}")
    _run(train, root, reporter, launch, log=log)


def _run(
    train: Train, root: Path, reporter: Reporter, launch: Launch, *, log: Path
) -> FinetuneResult | None:
    """The result of the process of rank 0, where that one is on this machine."""
    with extra("train"):
        import torch.multiprocessing as mp
        from torch.distributed import DistError
        from torch.distributed.elastic.multiprocessing.api import SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.launcher.api import elastic_launch
    reading, writing = mp.get_context("spawn").Pipe(duplex=False)
    with _heard(reading, reporter) as errors:
        try:
            start = elastic_launch(_launch_config(launch, log), _member)
            results: Mapping[int, Any] = start(train, str(root), launch.processes, writing)
        except ChildFailedError as error:
            failure: BaseException = error
        except DistError as error:
            raise _unreachable(launch, error) from error
        except SignalException as error:
            raise KeyboardInterrupt from error
        else:
            return next((one for one in results.values() if one is not None), None)
    if errors:
        raise errors[0] from failure
    raise WorkerError(
        "training in several processes",
        got=str(failure).strip().splitlines()[0],
        expected="every process to finish",
        fix="see logs/finetune.log in the run's folder; run the same command again to resume",
    ) from failure


def _launch_config(launch: Launch, log: Path) -> LaunchConfig:
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    several = launch.machines > 1
    return LaunchConfig(
        min_nodes=launch.machines,
        max_nodes=launch.machines,
        nproc_per_node=launch.processes,
        run_id=f"edgetl-{launch.address}" if several else uuid.uuid4().hex,
        # With static ranks the first process is on the machine that holds the lock and writes.
        rdzv_backend="static" if several else "c10d",
        rdzv_endpoint=launch.address if several and launch.address else "localhost:0",
        rdzv_configs={"rank": launch.rank, "timeout": _WAIT_SECONDS},
        # A failed run resumes when it is called again; restarts would hide why it failed.
        max_restarts=0,
        # An interrupt stays Python's own KeyboardInterrupt.
        signals_to_handle="SIGTERM",
        # In a folder that goes away, not one left in /tmp.
        logs_specs=DefaultLogsSpecs(log_dir=str(log / "processes")),
    )


def _unreachable(launch: Launch, error: Exception) -> UnavailableError:
    return UnavailableError(
        f"--address {launch.address}",
        got=str(error).strip().splitlines()[0],
        expected=f"machine 0 of {launch.machines}, with the same --machines and --address",
        fix="start it too, open the port between the machines, or correct the address",
    )


@contextmanager
def _heard(reading: Connection, reporter: Reporter) -> Iterator[list[EdgetlError]]:
    """Pass on what the processes say meanwhile; the errors among it are in the list afterwards."""
    errors: list[EdgetlError] = []
    over = threading.Event()

    def listen() -> None:
        while True:
            ended = over.is_set()
            if reading.poll(_POLL_SECONDS):
                message = reading.recv()
                if isinstance(message, EdgetlError):
                    errors.append(message)
                elif message.kind == "progress":
                    reporter.progress(message.text, message.done, message.total)
                else:
                    reporter.note(message.text)
            elif ended:
                return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield errors
    finally:
        over.set()
        # A process that was killed in the middle of a message leaves half of it: not waited for.
        thread.join(2.0)


def _member(train: Train, root: str, share: int, say: Connection) -> FinetuneResult | None:
    """One of the processes: trains, and speaks when it is the first of all."""
    # The agent ends the others; an interrupt ends a process at once, even inside a collective.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    first = int(os.environ["RANK"]) == 0
    path = Path(root) / _JOB
    job = parse_json(path.read_bytes(), str(path))

    def speak(event: Event) -> None:
        if first:
            say.send(event)

    context = StageContext(
        config=build(ReleaseConfig, job["config"], "config"),
        folder=RunFolder(Path(root)),
        reporter=Reporter(STAGE, speak),
        scratch=Path(root) / job["scratch"],
    )
    try:
        result = train(context, job["weights"], share)
    except EdgetlError as error:
        say.send(error)
        sys.stderr.flush()
        os._exit(error.exit_code)
    return result if first else None
