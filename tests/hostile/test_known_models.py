"""Teachers and previous classifiers that are not what they should be: refused, nothing run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgetl.errors import CheckpointError
from edgetl.pipeline.previous import read_previous
from edgetl.reference.checkpoint import save_classifier
from edgetl.reference.description import ClassifierDescription
from edgetl.reference.network import Mlp
from edgetl.spec import Head, TensorInput
from edgetl.train.terms.distillation import teacher_from

SPEC, CLASSES = TensorInput(shape=(4,)), ("a", "b")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    head = Head(layer="head", classes=CLASSES)
    description = ClassifierDescription(architecture="mlp", input=SPEC, head=head)
    save_classifier(tmp_path, Mlp(features=4, classes=2), description)
    return tmp_path


def _nan(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["body.1.weight"][0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors")


def _other_numbers(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["head.bias"] += 1
    save_file(tensors, folder / "model.safetensors")


def _other_keys(folder: Path) -> None:
    save_file({"fc.weight": torch.ones(2, 4)}, folder / "model.safetensors")


def _pickle(folder: Path) -> None:
    torch.save({"head.bias": torch.ones(2)}, folder / "model.safetensors")


def _truncated(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def _missing(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _code(folder: Path) -> None:
    """A description that names code, which stands in the folder itself."""
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    path = folder / "classifier.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "architecture": "python:evil:make"}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_nan, r"NaN or infinity in 'body\.1\.weight'"),
        (_other_numbers, "SHA-256 is not the recorded one"),
        (_other_keys, r"missing: body\.1\.weight.*extra: fc\.weight"),
        (_pickle, "a zip archive"),
        (_truncated, "expected a whole safetensors file"),
        (_missing, "no such file"),
        (_code, "which is code, and no folder to take it from"),
    ],
)
def test_it_is_refused_as_a_teacher_and_as_a_start(
    spoil: Callable[[Path], None], words: str, folder: Path
) -> None:
    spoil(folder)
    with pytest.raises(CheckpointError, match=words):
        teacher_from(folder, input=SPEC, classes=CLASSES)
    with pytest.raises(CheckpointError, match=words):
        read_previous(folder)
