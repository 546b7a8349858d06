from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgetl.pipeline.events import Event
from edgetl.pipeline.release import ReleaseResult, release

# Several test processes share few cores: threads that spin while they wait would starve each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what needs a Debian package that is not here."""
    reasons = {}
    if not FASHION_MNIST.is_dir():
        reasons["needs_fashion_mnist"] = "the Debian package dataset-fashion-mnist is missing"
    if shutil.which("strace") is None:
        reasons["needs_strace"] = "the Debian package strace is missing"
    if shutil.which("chromium") is None:
        reasons["needs_chromium"] = "the Debian package chromium is missing"
    for item in items:
        for marker, reason in reasons.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


TINY = """
schema = "edgetl.config/1"
name = "tiny"
version = "1.2.3"
[data]
source = "builtin:digits"
train = 500
val = 300
calib = 200
[input]
kind = "tensor"
shape = [8, 8]
[finetune]
architecture = "mlp"
weights = "none"
recipe = "full"
epochs = 12
learning_rate = 3e-3
[bench]
rounds = 6
max_seconds = 20.0
[gate.policy]
max_p50_ratio = 5.0   # a network of microseconds: the call itself is what is measured
"""


@dataclass(frozen=True)
class TinyRelease:
    """A finished release of a small tensor classifier, and what was heard of it."""

    config: Path
    folder: Path
    result: ReleaseResult
    events: list[Event]


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.toml"
    path.write_text(TINY.replace("calib = 200", "calib = 200\ntest = 797"))
    return path


@pytest.fixture(scope="session")
def tiny_release(tiny_config: Path) -> Iterator[TinyRelease]:
    """One whole release, shared by every test that only reads it."""
    folder = tiny_config.parent / "run"
    events: list[Event] = []
    before = os.environ.get("EDGETL_CACHE")
    os.environ["EDGETL_CACHE"] = str(tiny_config.parent / "cache")
    try:
        result = release(tiny_config, out=folder, listen=events.append)
        yield TinyRelease(tiny_config, folder, result, events)
    finally:
        if before is None:
            del os.environ["EDGETL_CACHE"]
        else:
            os.environ["EDGETL_CACHE"] = before
