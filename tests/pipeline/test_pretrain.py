"""The cache of pretrained weights: taken when whole, made again when not, and never raced for."""

from __future__ import annotations

import fcntl
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from edgetl.data.letters import LETTER_CLASSES
from edgetl.errors import UnavailableError
from edgetl.pipeline import pretrain
from edgetl.pipeline.events import Event, Reporter
from edgetl.pipeline.pretrain import letters_weights
from edgetl.pipeline.sections import FinetuneSection, PretrainConfig
from edgetl.spec import TensorInput

SECTION = FinetuneSection(
    architecture="mlp",
    weights="letters",
    device="cpu",
    pretrain=PretrainConfig(per_class=1, epochs=1),
)
Weights = Callable[..., Path]


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def weights(tmp_path: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch) -> Weights:
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path))

    def hear(event: Event) -> None:
        if event.kind == "note":
            notes.append(event.text)

    def make(
        section: FinetuneSection = SECTION, threads: int | None = 1, code: Path | None = None
    ) -> Path:
        return letters_weights(
            section,
            TensorInput(shape=(28, 28)),
            threads=threads,
            reporter=Reporter("finetune", hear),
            code=code,
        )

    return make


def test_weights_are_made_once_and_then_taken(weights: Weights, notes: list[str]) -> None:
    path = weights()
    first = path.read_bytes(), path.stat().st_mtime_ns
    assert weights() == path and (path.read_bytes(), path.stat().st_mtime_ns) == first
    made, taken = notes
    assert "on cpu" in made and "from the cache" in taken
    assert json.loads((path.parent / "history.json").read_text())["device"] == "cpu"
    assert not path.parent.with_name(f"{path.parent.name}.work").exists()


@pytest.mark.parametrize("fault", ["flip", "cut", "no weights", "no description"])
def test_a_damaged_entry_is_made_again(fault: str, weights: Weights, notes: list[str]) -> None:
    path = weights()
    good = path.read_bytes()
    if fault == "flip":
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    elif fault == "cut":
        path.write_bytes(good[:-8])
    elif fault == "no weights":
        path.unlink()
    else:
        (path.parent / "classifier.json").unlink()
    assert weights().read_bytes() == good
    assert "damaged in the cache" in notes[1] and "pretrained on" in notes[2]
    weights()
    assert "from the cache" in notes[3]


def test_the_entry_belongs_to_the_versions_and_the_threads(
    weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretend(config: object, per_class: int, input: object, target: Path, *_: object) -> None:
        made.add(target.name)

    made: set[str] = set()
    monkeypatch.setattr(pretrain, "_pretrain", pretend)
    weights()
    weights(threads=2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    weights(threads=None)
    assert len(made) == 2
    for count, changed in enumerate(("torch", "torchvision", "timm", "pillow", "numpy"), start=3):
        monkeypatch.setattr(
            pretrain, "version", lambda name, changed=changed: "9" if name == changed else "1"
        )
        weights()
        assert len(made) == count


OWN = """\
from collections import OrderedDict
from torch import nn

def make(classes):
    body = nn.Sequential(nn.Flatten(), nn.Linear(784, {width}), nn.ReLU())
    return nn.Sequential(OrderedDict(body=body, last=nn.Linear({width}, classes)))
"""


def test_a_module_of_the_user_s_own_is_pretrained_again_when_its_code_changes(
    weights: Weights, tmp_path: Path
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    made = []
    for width in (8, 16, 8):
        (code / "mine.py").write_text(OWN.format(width=width))
        section = replace(SECTION, architecture="python:mine:make", head="last")
        made.append(weights(section, code=code))
        sys.modules.pop("mine", None)
    assert made[0] == made[2] != made[1]
    assert made[0].parent.name.startswith("python-mine-make-")
    with safe_open(made[1], framework="np") as stored:
        assert stored.get_tensor("last.weight").shape == (len(LETTER_CLASSES), 16)


def test_waiting_for_another_release_is_said(weights: Weights, notes: list[str]) -> None:
    folder = weights().parent
    notes.clear()
    with folder.with_name(f"{folder.name}.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = threading.Thread(target=weights)
        waiting.start()
        while not notes and waiting.is_alive():
            waiting.join(0.01)
        assert notes == ["another release is pretraining the same weights; waiting"]
    waiting.join()
    assert len(notes) == 2 and "from the cache" in notes[1]


def test_a_device_that_is_not_here_is_refused(
    weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    section = FinetuneSection(architecture="mlp", weights="letters", device="cuda")
    with pytest.raises(UnavailableError):
        weights(section)
