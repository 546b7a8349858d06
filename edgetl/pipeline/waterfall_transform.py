"""The reference fed by the user's own transform, in a process of its own: no torch on this side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

import edgetl
from edgetl.errors import WorkerError
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.process import error_from_json
from edgetl.reference.framing import read_frame

_TAIL = 2000


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnAnswers:
    """What the reference answers to pictures that the user's own code prepared.

    Attributes:
        transformed: Pictures decoded by edgetl, then the transform: probabilities, float64 [n, K].
        decoded: Decoded by the transform's own `decode`, then the transform; None without one.
        pixel_difference: Of the worst pixel between the transform's result and edgetl's, of
            pictures that edgetl decoded, in units of 0 to 255.
        mean_pixel_difference: Over all pixels, in the same units.
    """

    transformed: NDArray[np.float64]
    decoded: NDArray[np.float64] | None
    pixel_difference: float
    mean_pixel_difference: float


def own_answers(context: StageContext, images: int) -> OwnAnswers | None:
    """Ask the reference about the first val pictures as the user's own transform prepares them.

    Args:
        context: A run whose calibrate stage is finished.
        images: How many pictures; all of val when there are fewer.

    Returns:
        None when the config names no transform.

    Raises:
        ModelError: When the transform or its `decode` raises, or gives what the network does not
            take.
        WorkerError: When the process ends without an answer.
    """
    model = context.config.model
    if model is None or model.transform is None:
        return None
    job = {
        "checkpoint": str(context.folder.stage("calibrate")),
        "splits": str(context.folder.stage("data")),
        "code": str(context.code),
        "transform": model.transform,
        "threads": context.threads,
        "images": images,
    }
    with tempfile.TemporaryFile() as log:
        child = _start(log)
        try:
            assert child.stdin is not None
            child.stdin.write(json.dumps(job).encode())
            child.stdin.close()
            return _heard(context, child, log, images)
        except BrokenPipeError as error:
            raise _died(child, log) from error
        finally:
            # Nothing when it has ended; otherwise nobody listens any more.
            child.kill()
            child.wait()
            assert child.stdout is not None
            child.stdout.close()


def _start(log: IO[bytes]) -> subprocess.Popen[bytes]:
    """The worker, on the edgetl that runs here whatever the working directory holds."""
    home = str(Path(edgetl.__file__).resolve().parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "edgetl.pipeline.waterfall_transform_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        # A group of its own: Ctrl-C reaches this process, which then ends the worker.
        process_group=0,
    )


def _heard(
    context: StageContext, child: subprocess.Popen[bytes], log: IO[bytes], images: int
) -> OwnAnswers:
    assert child.stdout is not None
    while (frame := read_frame(child.stdout)) is not None:
        header, arrays = frame
        if header["kind"] == "error":
            raise error_from_json(header["error"])
        if header["kind"] == "answer":
            return OwnAnswers(
                transformed=arrays["transformed"],
                decoded=arrays.get("decoded"),
                pixel_difference=header["pixel_difference"],
                mean_pixel_difference=header["mean_pixel_difference"],
            )
        context.reporter.progress("the network's own transform", int(header["done"]), images)
    raise _died(child, log)


def _died(child: subprocess.Popen[bytes], log: IO[bytes]) -> WorkerError:
    status: Any = child.wait()
    log.seek(0)
    words = " / ".join(log.read()[-_TAIL:].decode(errors="replace").split("\n")).strip(" /")
    return WorkerError(
        "process of the network's own transform",
        got=f"exit status {status}, saying: {words or 'nothing'}",
        expected="an answer",
        fix="check that the transform runs: the export stage checks it on the first pictures",
    )
