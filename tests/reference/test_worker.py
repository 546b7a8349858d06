"""The worker's own process: clean pipes, an end when its client ends, no traceback on Ctrl-C."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgetl.errors import WorkerError
from edgetl.reference.answering import load_answering
from edgetl.reference.framing import read_frame, write_frame
from edgetl.reference.worker import serve


def _spawn(arguments: list[str], feed: bytes, code: str | None = None) -> tuple[int, bytes, bytes]:
    start = ["-c", code] if code else ["-m", "edgetl.reference.worker"]
    done = subprocess.run(
        [sys.executable, *start, *arguments], input=feed, capture_output=True, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


def test_a_library_that_prints_does_not_break_the_framing(mlp_folder: Path) -> None:
    noisy = (
        "import sys, os; from edgetl.reference import worker\n"
        "build = worker.load_answering\n"
        "def loud(*args, **kwargs):\n"
        "    print('a banner'); os.write(1, b'straight to the descriptor\\n')\n"
        "    return build(*args, **kwargs)\n"
        "worker.load_answering = loud\n"
        "sys.exit(worker.main(sys.argv[1:]))"
    )
    status, out, noise = _spawn([str(mlp_folder), "1"], b"", noisy)
    frame = read_frame(io.BytesIO(out))
    assert status == 0 and frame is not None and frame[0]["kind"] == "ready"
    assert b"a banner" in noise and b"straight" in noise


def test_it_ends_when_its_input_ends(mlp_folder: Path) -> None:
    status, out, noise = _spawn([str(mlp_folder), "1"], b"")
    stream = io.BytesIO(out)
    frame = read_frame(stream)
    assert frame is not None and frame[0]["classes"] == 3
    assert read_frame(stream) is None and status == 0 and noise == b""


def test_a_request_it_does_not_know_is_answered(mlp_folder: Path) -> None:
    source, target = io.BytesIO(), io.BytesIO()
    write_frame(source, {"kind": "dance"})
    write_frame(source, {"kind": "run"}, {"features": np.zeros((1, 6), np.float32)})
    write_frame(source, {"kind": "run"}, {"features": np.zeros((1, 5), np.float32)})
    write_frame(source, {"kind": "close"})
    write_frame(source, {"kind": "run"}, {"features": np.zeros((1, 6), np.float32)})
    source.seek(0)
    serve(load_answering(mlp_folder, threads=1), source, target)
    target.seek(0)
    frames = list(iter(lambda: read_frame(target), None))
    assert [header["kind"] for header, _ in frames] == ["error", "answer", "error"]
    assert frames[0][0]["error"] == "WorkerError" and frames[2][0]["error"] == "BackendError"


def test_a_broken_request_is_a_worker_error(mlp_folder: Path) -> None:
    with pytest.raises(WorkerError):
        serve(load_answering(mlp_folder, threads=1), io.BytesIO(b"not a frame"), io.BytesIO())
