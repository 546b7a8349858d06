from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from onnx import parser

from edgetl.errors import CheckpointError, ModelError
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.description import ClassifierDescription, read_description
from edgetl.reference.onnx_checkpoint import load_onnx_classifier, save_onnx_classifier
from edgetl.spec import Head, TensorInput

MODEL = parser.parse_model(
    """<ir_version: 8, opset_import: ["": 13]>
    g (float[1, 2] x) => (float[1, 2] y) { y = Add(x, x) }"""
).SerializeToString()
DESCRIPTION = ClassifierDescription(
    architecture="onnx",
    input=TensorInput(shape=(2,)),
    head=Head(layer="output", classes=("a", "b"), temperature=1.5),
)


@pytest.mark.parametrize("output", [None, "logits"])
def test_an_onnx_classifier_survives_the_disk(tmp_path: Path, output) -> None:
    description = dataclasses.replace(DESCRIPTION, output=output)
    save_onnx_classifier(tmp_path, MODEL, description)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classifier.json", "model.onnx"]
    assert load_onnx_classifier(tmp_path) == (MODEL, description)
    assert read_description(tmp_path)[0] == description


def test_only_an_onnx_description_is_saved(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'onnx' for an ONNX file"):
        save_onnx_classifier(tmp_path, MODEL, dataclasses.replace(DESCRIPTION, architecture="mlp"))
    head = Head(layer="", classes=("a", "a"))
    with pytest.raises(CheckpointError, match="twice"):
        save_onnx_classifier(tmp_path, MODEL, dataclasses.replace(DESCRIPTION, head=head))
    with pytest.raises(ModelError, match=r"expected \[\?, 3\]"):
        wrong = dataclasses.replace(DESCRIPTION, input=TensorInput(shape=(3,)))
        save_onnx_classifier(tmp_path, MODEL, wrong)
    assert not list(tmp_path.iterdir())


def test_a_changed_or_missing_model_is_refused(tmp_path: Path) -> None:
    save_onnx_classifier(tmp_path, MODEL, DESCRIPTION)
    changed = bytearray(MODEL)
    changed[-1] ^= 1
    (tmp_path / "model.onnx").write_bytes(changed)
    with pytest.raises(CheckpointError, match="SHA-256 is not the recorded one"):
        load_onnx_classifier(tmp_path)
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        load_onnx_classifier(tmp_path)


def test_the_two_kinds_of_checkpoint_are_not_taken_for_each_other(
    tmp_path: Path, mlp_folder: Path
) -> None:
    save_onnx_classifier(tmp_path, MODEL, DESCRIPTION)
    with pytest.raises(CheckpointError):
        load_classifier(tmp_path)
    with pytest.raises(CheckpointError, match="architecture 'mlp'"):
        load_onnx_classifier(mlp_folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"output": "scores"}, "the output 'scores'"),
        ({"output": []}, "the output"),
        ({"architecture": "mlp"}, "the weights file 'model.onnx', not 'model.safetensors'"),
        ({"architecture": "mlp", "output": "logits"}, "the output 'logits'"),
    ],
)
def test_a_description_that_does_not_hold_together(tmp_path: Path, change, words: str) -> None:
    save_onnx_classifier(tmp_path, MODEL, DESCRIPTION)
    path = tmp_path / "classifier.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=words):
        read_description(tmp_path)


def test_a_description_of_pytorch_weights_says_no_more_than_it_did(mlp_folder: Path) -> None:
    described = json.loads((mlp_folder / "classifier.json").read_text())
    assert sorted(described) == ["architecture", "head", "input", "schema", "weights"]
    assert described["weights"]["file"] == "model.safetensors"
