"""The client keeps the backend protocol's promises, and its process dies with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from edgetl.backends.base import Backend
from edgetl.errors import BackendError, CheckpointError, SpecError, UsageError, WorkerError
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.client import ReferenceBackend
from edgetl.reference.network import Reference


@pytest.fixture(scope="module")
def mlp(mlp_folder: Path) -> Iterator[ReferenceBackend]:
    with ReferenceBackend(mlp_folder, threads=1) as backend:
        yield backend


def _batch(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32)


def test_it_is_a_backend(mlp: ReferenceBackend) -> None:
    assert isinstance(mlp, Backend)
    assert mlp.input_spec["features"].shape == (None, 6)
    assert {name: spec.shape for name, spec in mlp.output_spec.items()} == {
        "probabilities": (None, 3),
        "logits": (None, 3),
    }


def test_answers_are_the_networks_own(mlp: ReferenceBackend, mlp_folder: Path) -> None:
    network, description = load_classifier(mlp_folder)
    x = _batch(9)
    with torch.inference_mode():
        want, raw = Reference(network, description.input, 2.0)(torch.from_numpy(x))
    got = mlp.run({"features": x})
    np.testing.assert_allclose(got["probabilities"], want.numpy(), atol=1e-6)
    np.testing.assert_allclose(got["logits"], raw.numpy(), atol=1e-5)
    for name, spec in mlp.output_spec.items():
        spec.check(got[name])
    assert len(np.unique(got["probabilities"].round(4), axis=0)) == 9


def test_outputs_belong_to_the_caller(mlp: ReferenceBackend) -> None:
    first = mlp.run({"features": _batch(2)})["probabilities"]
    kept = first.copy()
    mlp.run({"features": _batch(2, seed=1)})
    np.testing.assert_array_equal(first, kept)
    first[:] = 0
    np.testing.assert_array_equal(mlp.run({"features": _batch(2)})["probabilities"], kept)


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"image": _batch(1)},
        {"features": _batch(1), "more": _batch(1)},
        {"features": _batch(1).astype(np.float64)},
        {"features": _batch(1).astype(">f4")},
        {"features": _batch(1)[0]},
        {"features": _batch(0)},
        {"features": np.zeros((1, 5), np.float32)},
        {"features": _batch(4)[::2]},
        {"features": np.full((1, 6), np.nan, np.float32)},
        {"features": [[0.0] * 6]},
        {"features": np.zeros((1, 6), object)},
    ],
)
def test_an_array_that_is_not_the_specs_is_refused(
    mlp: ReferenceBackend, inputs: dict[str, np.ndarray]
) -> None:
    with pytest.raises(SpecError):
        mlp.run(inputs)
    with pytest.raises(SpecError):
        mlp.time_block(inputs, 1)
    assert mlp.run({"features": _batch(1)})["probabilities"].shape == (1, 3)


def test_threads_get_their_own_answers(mlp: ReferenceBackend) -> None:
    batches = [_batch(1, seed) for seed in range(16)]
    want = [mlp.run({"features": batch})["probabilities"] for batch in batches]

    def ask(turn: int) -> bool:
        got = mlp.run({"features": batches[turn % 16]})["probabilities"]
        return bool(np.array_equal(got, want[turn % 16]))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(400)))


def test_times_come_from_the_worker_with_its_layout(resnet_folder: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    with ReferenceBackend(resnet_folder, threads=1) as backend:
        assert "timed_layout" not in backend.facts()
        before = backend.run({"image": x})["probabilities"]
        seconds = backend.time_block({"image": x}, 5)
        facts = backend.facts()
        np.testing.assert_array_equal(backend.run({"image": x})["probabilities"], before)
        with pytest.raises(UsageError):
            backend.time_block({"image": x}, 0)
    assert seconds.dtype == np.float64 and seconds.shape == (5,) and (seconds > 0).all()
    assert facts["timed_layout"] in ("contiguous", "channels_last")
    assert facts["threads"] == 1 and facts["torch"] == torch.__version__


def test_after_close_and_in_a_forked_child_it_refuses(mlp_folder: Path) -> None:
    # os.fork warns in a process with threads, which pytest may have: a clean one does it.
    code = (
        "import os, sys, numpy as np; from pathlib import Path\n"
        "from edgetl.errors import BackendError\n"
        "from edgetl.reference.client import ReferenceBackend\n"
        "assert 'torch' not in sys.modules\n"
        "b = ReferenceBackend(Path(sys.argv[1]), threads=1); x = np.zeros((1, 6), np.float32)\n"
        "def refusal(call):\n"
        "    try: call()\n"
        "    except BackendError as e: return e.got\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    said = refusal(lambda: b.run({'features': x}))\n"
        "    b.close(); sys.exit(7 if said == 'a call after fork' else 8)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7\n"
        "assert b.run({'features': x})['probabilities'].shape == (1, 3)\n"
        "b.close(); b.close()\n"
        "assert refusal(lambda: b.run({'features': x})) == 'a call after close'\n"
        "assert refusal(lambda: b.time_block({'features': x}, 1)) == 'a call after close'\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(mlp_folder)], check=True, timeout=120)


def test_a_killed_worker_is_said_and_stays_said(mlp_folder: Path) -> None:
    backend = ReferenceBackend(mlp_folder, threads=1)
    os.kill(backend._process.pid, signal.SIGKILL)
    backend._process.wait()
    with pytest.raises(WorkerError, match="exit status -9"):
        backend.run({"features": _batch(1)})
    with pytest.raises(BackendError):
        backend.run({"features": _batch(1)})
    backend.close()


def test_a_failed_start_brings_the_workers_own_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        ReferenceBackend(tmp_path / "nowhere", threads=1)
    with pytest.raises(UsageError):
        ReferenceBackend(tmp_path, threads=0)


def test_the_worker_dies_with_a_killed_client_and_leaves_no_traceback(mlp_folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from edgetl.reference.client import ReferenceBackend\n"
        "b = ReferenceBackend(Path(sys.argv[1]), threads=1)\n"
        "print(b._process.pid, flush=True); sys.stdin.read()"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", code, str(mlp_folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert client.stdout is not None
    worker = int(client.stdout.readline())
    handle = os.pidfd_open(worker)
    # Ctrl-C goes to the whole foreground group; the worker is not in it.
    os.killpg(client.pid, signal.SIGINT)
    _, noise = client.communicate(timeout=60)
    assert b"KeyboardInterrupt" in noise and b"worker" not in noise
    # poll becomes readable when the process has ended.
    import select

    poll = select.poll()
    poll.register(handle, select.POLLIN)
    assert poll.poll(30_000)
    os.close(handle)
