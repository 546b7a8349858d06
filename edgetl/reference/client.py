"""The reference as a backend: its process, its pipes, and no torch on this side."""

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
from edgetl.backends.checked import CheckedBackend, check_threads
from edgetl.backends.execution import Execution
from edgetl.errors import BackendError, EdgetlError, SpecError, UsageError, WorkerError
from edgetl.input_json import input_from_json
from edgetl.reference.framing import read_frame, write_frame
from edgetl.spec import Array, Setting, TensorSpec

_PATIENCE_S = 10.0
_TAIL = 2000
_SUBJECTS = {"pytorch": "PyTorch reference", "onnxruntime": "ONNX reference"}


class ReferenceBackend(CheckedBackend):
    """The reference of a checkpoint folder, in a process of its own, behind the `Backend` protocol.

    Outputs: ``probabilities`` and ``logits`` (raw, before the temperature), float32
    [batch, classes]. Calls from several threads wait for one another.

    Args:
        folder: A checkpoint folder (`edgetl.reference.checkpoint.save_classifier`).
        threads: What it may use; None means every core this process may run on.
        code: The folder of the user's module, which a checkpoint of an architecture ``python:…``
            needs; it is imported in the other process only.

    Raises:
        CheckpointError: When the folder is not a whole checkpoint.
        MissingExtraError: When torch is not installed.
        UsageError: When `threads` is below 1.
        WorkerError: When the process cannot start.

    Example::

        with ReferenceBackend(Path("runs/digits/finetune"), threads=2) as reference:
            answers = reference.run({"image": batch})["probabilities"]
    """

    def __init__(
        self, folder: Path, *, threads: int | None = None, code: Path | None = None
    ) -> None:
        threads = check_threads(threads)
        self._lock = threading.Lock()
        # What the worker prints is kept for an error message; `_stop` closes it.
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._worker = _start(folder, threads, code, self._log)
        # Also runs at interpreter exit, so that a forgotten close leaves no process behind.
        self._finalizer = weakref.finalize(self, _stop, self._worker, self._log, os.getpid())
        try:
            ready, _ = self._receive()
            self._facts: dict[str, Setting] = dict(ready["facts"])
            tensors = input_from_json(ready["input"]).tensors
            shape = (None, int(ready["classes"]))
        except BaseException:
            self._abandon()
            raise
        super().__init__(
            _SUBJECTS.get(str(self._facts["backend"]), "reference"),
            input_spec={tensor.name: tensor for tensor in tensors},
            output_spec={
                name: TensorSpec(name=name, dtype="float32", shape=shape)
                for name in ("probabilities", "logits")
            },
        )

    def time_block(self, inputs: Mapping[str, Array], calls: int) -> NDArray[np.float64]:
        """Time the whole reference, input tensor to probabilities, inside its own process.

        PyTorch runs eager under `inference_mode`. There the first call also measures whether the
        channels-last memory layout is faster, keeps the faster one for timing, and records it in
        `facts()["timed_layout"]`; answers of `run` come from the one of `facts()["layout"]`.

        Args:
            inputs: The input tensors, by name; they are sent before the clock starts.
            calls: How many calls to time, at least 1.

        Returns:
            Seconds of each call, float64 [calls].

        Raises:
            SpecError: When the input is not the spec's.
            BackendError: After `close` or a fork, or when PyTorch failed.
            WorkerError: When the process ended.
            UsageError: When `calls` is below 1.
        """
        if calls < 1:
            raise UsageError("calls", got=str(calls), expected="at least 1", fix="pass calls=40")
        self._check_alive()
        header, results = self._ask({"kind": "time", "calls": calls}, self._checked(inputs))
        self._facts = dict(header["facts"])
        return results["seconds"]

    def facts(self) -> dict[str, Setting]:
        """Backend, version, architecture, device, threads and layouts, as executed."""
        return dict(self._facts)

    def execution(self) -> Execution:
        """What executes, for `edgetl.backends.registry.describe`; its layers are not told.

        Raises:
            BackendError: After `close`.
        """
        self._check_alive()
        facts = dict(self._facts)
        return Execution(
            backend=str(facts.pop("backend")),
            version=str(facts.pop("version")),
            device=str(facts.pop("device")),
            threads=int(facts.pop("threads")),
            settings=facts,
            layers=(),
        )

    def __enter__(self) -> ReferenceBackend:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        header, answers = self._ask({"kind": "run"}, inputs)
        self._facts = dict(header["facts"])
        return answers

    def _release(self) -> None:
        with self._lock:
            self._finalizer()

    def _checked(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        if inputs.keys() != self.input_spec.keys():
            raise SpecError(
                f"inputs of {self._subject}",
                got=f"{sorted(map(str, inputs))}",
                expected=f"a mapping with exactly {sorted(self.input_spec)}",
                fix="pass {name: array} with the names of input_spec",
            )
        for name, spec in self.input_spec.items():
            spec.check(inputs[name])
        return inputs

    def _ask(
        self, header: Mapping[str, Any], inputs: Mapping[str, Array]
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        with self._lock:
            # Another thread may have closed it while this one waited.
            self._check_alive()
            if not self._finalizer.alive:
                raise self._error("a call after its process ended", "a process", "load it again")
            try:
                return self._exchange(header, inputs)
            except BackendError:
                raise
            except BaseException:
                # The answer to this request may still be on its way: nobody may read it as theirs.
                self._abandon()
                raise

    def _exchange(
        self, header: Mapping[str, Any], inputs: Mapping[str, Array]
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        assert self._worker.stdin is not None
        try:
            write_frame(self._worker.stdin, header, inputs)
        except (BrokenPipeError, ValueError) as error:
            raise self._ended() from error
        return self._receive()

    def _receive(self) -> tuple[dict[str, Any], dict[str, Array]]:
        assert self._worker.stdout is not None
        try:
            frame = read_frame(self._worker.stdout)
        except WorkerError as error:
            raise self._ended() from error
        if frame is None:
            raise self._ended()
        header, arrays = frame
        if header.get("kind") == "error":
            raise _error_from(header)
        return header, arrays

    def _ended(self) -> WorkerError:
        try:
            status = f"exit status {self._worker.wait(_PATIENCE_S)}"
        except subprocess.TimeoutExpired:
            status = "a broken pipe"
        return WorkerError(
            "reference worker",
            got=f"{status}, saying: {_tail(self._log) or 'nothing'}",
            expected="an answer",
            fix="check the memory that is free, and that torch works: python -c 'import torch'",
        )

    def _abandon(self) -> None:
        self._worker.kill()
        self._finalizer()


def _start(
    folder: Path, threads: int, code: Path | None, log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """The worker, on the edgetl that runs here whatever the working directory holds."""
    home = str(Path(edgetl.__file__).resolve().parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    arguments = [str(folder), str(threads), *([] if code is None else [str(code)])]
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "edgetl.reference.worker", *arguments],
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


def _error_from(header: Mapping[str, Any]) -> EdgetlError:
    kind = getattr(errors, str(header["error"]), None)
    if not (isinstance(kind, type) and issubclass(kind, EdgetlError)):
        kind = WorkerError
    parts = {name: str(header[name]) for name in ("got", "expected", "fix")}
    return kind(str(header["subject"]), **parts)
