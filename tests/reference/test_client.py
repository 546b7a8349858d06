"""The client keeps the backend protocol's promises, and its process dies with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
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
def test_timing_refuses_what_answering_refuses(
    mlp: ReferenceBackend, inputs: dict[str, np.ndarray]
) -> None:
    with pytest.raises(SpecError) as asked:
        mlp.run(inputs)
    with pytest.raises(SpecError) as timed:
        mlp.time_block(inputs, 1)
    assert (timed.value.got, timed.value.expected) == (asked.value.got, asked.value.expected)


def test_times_come_from_the_worker_with_its_layout(resnet_folder: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    with ReferenceBackend(resnet_folder, threads=1) as backend:
        assert "timed_layout" not in backend.facts()
        before = backend.run({"image": x})["probabilities"]
        assert backend.facts()["layout"] == "channels_last"
        seconds = backend.time_block({"image": x}, 5)
        facts = backend.facts()
        np.testing.assert_array_equal(backend.run({"image": x})["probabilities"], before)
        with pytest.raises(UsageError):
            backend.time_block({"image": x}, 0)
    assert seconds.dtype == np.float64 and seconds.shape == (5,) and (seconds > 0).all()
    assert facts["timed_layout"] in ("contiguous", "channels_last")
    assert facts["layout"] == "channels_last"
    assert facts["threads"] == 1 and facts["version"] == torch.__version__


def test_a_killed_worker_is_said_and_stays_said(mlp_folder: Path) -> None:
    backend = ReferenceBackend(mlp_folder, threads=1)
    os.kill(backend._worker.pid, signal.SIGKILL)
    backend._worker.wait()
    with pytest.raises(WorkerError, match="exit status -9"):
        backend.run({"features": _batch(1)})
    with pytest.raises(BackendError, match="after its process ended"):
        backend.run({"features": _batch(1)})
    backend.close()
    with pytest.raises(BackendError, match=r"after close\(\)"):
        backend.time_block({"features": _batch(1)}, 1)


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
        "print(b._worker.pid, flush=True); sys.stdin.read()"
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
