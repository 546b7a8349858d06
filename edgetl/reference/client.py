"""The PyTorch reference as a backend: its process, its pipes, and no torch on this side."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

import edgetl
from edgetl import errors
from edgetl.errors import BackendError, EdgetlError, SpecError, UsageError, WorkerError
from edgetl.reference.framing import read_frame, write_frame
from edgetl.spec import Array, Setting, TensorSpec, input_from_json

_PATIENCE_S = 10.0
_TAIL = 2000


class ReferenceBackend:
    """The reference of a checkpoint folder, in a process of its own, behind the `Backend` protocol.

    Outputs: ``probabilities`` and ``logits`` (raw, before the temperature), float32
    [batch, classes]. Calls from several threads wait for one another.

    Args:
        folder: A checkpoint folder (`edgetl.reference.checkpoint.save_classifier`).
        threads: What PyTorch may use; None means every core this process may run on.

    Raises:
        CheckpointError: When the folder is not a whole checkpoint.
        MissingExtraError: When torch is not installed.
        UsageError: When `threads` is below 1.
        WorkerError: When the process cannot start.

    Example::

        with ReferenceBackend(Path("runs/digits/finetune"), threads=2) as reference:
            answers = reference.run({"image": batch})["probabilities"]
    """

    def __init__(self, folder: Path, *, threads: int | None = None) -> None:
        if threads is None:
            threads = len(os.sched_getaffinity(0))
        if threads < 1:
            raise UsageError(
                "threads", got=str(threads), expected="at least 1", fix="pass threads=1"
            )
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._facts: dict[str, Setting] = {}
        # What the worker prints is kept for an error message; `_stop` closes it.
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = _start(folder, threads, self._log)
        # Also runs at interpreter exit, so that a forgotten close leaves no process behind.
        self._finalizer = weakref.finalize(self, _stop, self._process, self._log, self._owner)
        try:
            self._read_ready()
        except BaseException:
            self._abandon()
            raise

    @property
    def input_spec(self) -> Mapping[str, TensorSpec]:
        """The one input, by name."""
        return self._input_spec

    @property
    def output_spec(self) -> Mapping[str, TensorSpec]:
        """``probabilities`` and ``logits``."""
        return self._output_spec

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Answer one batch.

        Args:
            inputs: The input tensor, by name.

        Returns:
            ``probabilities`` and ``logits``, float32 [batch, classes], the caller's own.

        Raises:
            SpecError: When the input is not the spec's.
            BackendError: After `close` or a fork, or when PyTorch failed.
            WorkerError: When the process ended.
        """
        x = self._checked(inputs)
        _, outputs = self._ask({"kind": "run"}, x)
        for name, output in outputs.items():
            if not np.isfinite(output).all():
                raise BackendError(
                    "PyTorch reference",
                    got=f"NaN or infinity in '{name}'",
                    expected="finite numbers",
                    fix="check the checkpoint's weights and the input",
                )
        return outputs

    def time_block(self, inputs: Mapping[str, Array], calls: int) -> NDArray[np.float64]:
        """Time the whole reference, input tensor to probabilities, inside its own process.

        PyTorch runs eager under `inference_mode`. The first call also measures whether the
        channels-last memory layout is faster, keeps the faster one for timing, and records it in
        `facts()["timed_layout"]`; answers of `run` always come from the contiguous layout.

        Args:
            inputs: The input tensor, by name; it is sent before the clock starts.
            calls: How many calls to time, at least 1.

        Returns:
            Seconds of each call, float64 [calls].

        Raises:
            SpecError, BackendError, WorkerError: As `run`.
            UsageError: When `calls` is below 1.
        """
        if calls < 1:
            raise UsageError("calls", got=str(calls), expected="at least 1", fix="pass calls=40")
        header, results = self._ask({"kind": "time", "calls": calls}, self._checked(inputs))
        self._facts = dict(header["facts"])
        return results["seconds"]

    def facts(self) -> dict[str, Setting]:
        """Architecture, device, memory layouts, threads and torch version, as executed."""
        return dict(self._facts)

    def close(self) -> None:
        """End the process. Closing twice is allowed; in a forked child it does nothing."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            self._finalizer()

    def __enter__(self) -> ReferenceBackend:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _checked(self, inputs: Mapping[str, Array]) -> Array:
        ((name, spec),) = self._input_spec.items()
        if set(inputs) != {name}:
            raise SpecError(
                "inputs",
                got=f"the names {', '.join(sorted(map(str, inputs))) or '(none)'}",
                expected=f"'{name}'",
                fix=f"pass {{'{name}': array}}",
            )
        spec.check(inputs[name])
        return inputs[name]

    def _ask(self, header: Mapping[str, Any], x: Array) -> tuple[dict[str, Any], dict[str, Array]]:
        if os.getpid() != self._owner:
            raise _unusable("a call after fork", "load the reference after the fork")
        with self._lock:
            if not self._finalizer.alive:
                raise _unusable("a call after close", "load the reference again")
            try:
                return self._exchange(header, x)
            except (BackendError, SpecError):
                raise
            except BaseException:
                # The answer to this request may still be on its way: nobody may read it as theirs.
                self._abandon()
                raise

    def _exchange(
        self, header: Mapping[str, Any], x: Array
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        assert self._process.stdin is not None
        try:
            write_frame(self._process.stdin, header, {"x": x})
        except (BrokenPipeError, ValueError) as error:
            raise self._ended() from error
        return self._receive()

    def _receive(self) -> tuple[dict[str, Any], dict[str, Array]]:
        assert self._process.stdout is not None
        try:
            frame = read_frame(self._process.stdout)
        except WorkerError as error:
            raise self._ended() from error
        if frame is None:
            raise self._ended()
        header, arrays = frame
        if header.get("kind") == "error":
            raise _error_from(header)
        return header, arrays

    def _read_ready(self) -> None:
        header, _ = self._receive()
        self._facts = dict(header["facts"])
        tensor = input_from_json(header["input"]).tensor
        classes = int(header["classes"])
        self._input_spec = {tensor.name: tensor}
        self._output_spec = {
            name: TensorSpec(name=name, dtype="float32", shape=(None, classes))
            for name in ("probabilities", "logits")
        }

    def _ended(self) -> WorkerError:
        try:
            status = f"exit status {self._process.wait(_PATIENCE_S)}"
        except subprocess.TimeoutExpired:
            status = "a broken pipe"
        return WorkerError(
            "reference worker",
            got=f"{status}, saying: {_tail(self._log) or 'nothing'}",
            expected="an answer",
            fix="check the memory that is free, and that torch works: python -c 'import torch'",
        )

    def _abandon(self) -> None:
        self._process.kill()
        self._finalizer()


def _start(folder: Path, threads: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """The worker, on the edgetl that runs here whatever the working directory holds."""
    home = str(Path(edgetl.__file__).resolve().parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "edgetl.reference.worker", str(folder), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            # A group of its own: Ctrl-C reaches the client, which then ends the worker.
            process_group=0,
        )
    except OSError as error:
        log.close()
        raise WorkerError(
            "reference worker",
            got=str(error),
            expected=f"a process of {sys.executable}",
            fix="check the Python environment and the limits on processes",
        ) from error


def _stop(process: subprocess.Popen[bytes], log: IO[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return
    assert process.stdin is not None and process.stdout is not None
    # A broken pipe says that the process is already gone, which is what closing is for. The word
    # is needed beside the closed pipe: a forked child of ours may hold a copy of it open.
    with contextlib.suppress(BrokenPipeError):
        write_frame(process.stdin, {"kind": "close"})
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    log.close()


def _tail(log: IO[bytes]) -> str:
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - _TAIL))
    return " / ".join(log.read().decode(errors="replace").split("\n")).strip(" /")


def _unusable(got: str, fix: str) -> BackendError:
    return BackendError("reference", got=got, expected="a loaded reference", fix=fix)


def _error_from(header: Mapping[str, Any]) -> EdgetlError:
    kind = getattr(errors, str(header["error"]), None)
    if not (isinstance(kind, type) and issubclass(kind, EdgetlError)):
        kind = WorkerError
    parts = {name: str(header[name]) for name in ("got", "expected", "fix")}
    return kind(str(header["subject"]), **parts)
