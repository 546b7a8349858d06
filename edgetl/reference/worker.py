"""The reference's process: answers and times a PyTorch classifier over its standard streams.

`python -m edgetl.reference.worker FOLDER THREADS` is started by `edgetl.reference.client`, which
documents the outside. It ends when its standard input ends, so it never outlives its client.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from edgetl.errors import BackendError, EdgetlError, WorkerError
from edgetl.extras import extra
from edgetl.reference.framing import read_frame, write_frame
from edgetl.spec import Array, input_to_json

if TYPE_CHECKING:
    import torch

    from edgetl.reference.network import Reference

_LAYOUT_CALLS = 7
_LAYOUT_WARMUP = 3


class Worker:
    """A loaded reference. `answer` is deterministic: it always computes in one memory layout.

    Args:
        folder: A checkpoint folder.
        threads: What torch may use.

    Raises:
        CheckpointError: When the folder is not a checkpoint.
        MissingExtraError: When torch is not installed.
    """

    def __init__(self, folder: Path, *, threads: int) -> None:
        with extra("train"):
            import torch

            from edgetl.reference.checkpoint import load_classifier
        torch.set_num_threads(threads)
        network, self.description = load_classifier(folder)
        self._torch = torch
        self._model = self._wrap(network)
        self._timed: Reference | None = None
        self._facts: dict[str, str | int] = {
            "architecture": self.description.architecture,
            "device": "cpu",
            "layout": "contiguous",
            "threads": torch.get_num_threads(),
            "torch": str(torch.__version__),
        }

    def facts(self) -> dict[str, str | int]:
        """What runs, on how many threads, and in which memory layout it is timed."""
        return dict(self._facts)

    def answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """A batch of each input to ``probabilities`` and ``logits`` (raw), float32 [n, classes]."""
        with self._torch.inference_mode():
            probabilities, raw_logits = self._model(*self._tensors(inputs))
        return {"probabilities": probabilities.numpy(), "logits": raw_logits.numpy()}

    def time_block(self, inputs: Mapping[str, Array], calls: int) -> Array:
        """Seconds of each of `calls` calls on the same inputs, float64 [calls]."""
        batches = self._tensors(inputs)
        with self._torch.inference_mode():
            if self._timed is None:
                self._timed = self._faster_layout(batches)
            return np.array([_seconds(self._timed, batches) for _ in range(calls)])

    def _tensors(self, inputs: Mapping[str, Array]) -> list[torch.Tensor]:
        """In the order in which the network takes them, whatever the order they came in."""
        names = [tensor.name for tensor in self.description.input.tensors]
        return [self._torch.from_numpy(inputs[name]) for name in names]

    def _wrap(self, network: torch.nn.Module) -> Reference:
        from edgetl.reference.network import Reference

        head = self.description.head
        return Reference(network, self.description.input, head.temperature).eval()

    def _faster_layout(self, batches: list[torch.Tensor]) -> Reference:
        """The reference as a user would run it at its best; measured once."""
        import copy

        candidates = {
            "contiguous": self._model,
            "channels_last": copy.deepcopy(self._model).to(memory_format=self._torch.channels_last),
        }
        seconds: dict[str, list[float]] = {name: [] for name in candidates}
        for turn in range(_LAYOUT_WARMUP + _LAYOUT_CALLS):
            for name, model in candidates.items():
                took = _seconds(model, batches)
                if turn >= _LAYOUT_WARMUP:
                    seconds[name].append(took)
        best = min(candidates, key=lambda name: statistics.median(seconds[name]))
        self._facts["timed_layout"] = best
        return candidates[best]


def _seconds(model: Reference, batches: list[torch.Tensor]) -> float:
    start = time.perf_counter_ns()
    model(*batches)
    return (time.perf_counter_ns() - start) * 1e-9


def serve(worker: Worker, source: IO[bytes], target: IO[bytes]) -> None:
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
    worker: Worker, header: Mapping[str, Any], arrays: Mapping[str, Array]
) -> tuple[dict[str, Any], dict[str, Array]]:
    if header["kind"] == "run":
        return {"kind": "answer"}, worker.answer(arrays)
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
        "PyTorch reference",
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
    folder, threads = Path(arguments[0]), int(arguments[1])
    try:
        try:
            worker = Worker(folder, threads=threads)
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
    sys.exit(main(sys.argv[1:]))
