"""An ONNX file as the reference: its own answers, its temperature, its times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgetl import metrics
from edgetl.errors import CheckpointError, SpecError
from edgetl.reference.client import ReferenceBackend
from edgetl.reference.description import ClassifierDescription
from edgetl.reference.onnx_checkpoint import save_onnx_classifier
from edgetl.spec import Head, TensorInput

MODEL = """<ir_version: 8, opset_import: ["": 13]>
g (float[1, 3] x) => (float[1, 3] y) <float[3] w = {1, 2, -3}> {
    z = Mul(x, w)
    y = Softmax <axis = -1> (z)
}"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    description = ClassifierDescription(
        architecture="onnx",
        input=TensorInput(shape=(3,)),
        head=Head(layer="output", classes=("a", "b", "c"), temperature=2.0),
    )
    model = onnx.parser.parse_model(MODEL).SerializeToString()
    save_onnx_classifier(tmp_path, model, description)
    return tmp_path


def test_an_onnx_file_answers_as_the_reference(folder: Path) -> None:
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    with ReferenceBackend(folder, threads=1) as reference:
        got = reference.run({"features": x})
        facts, execution = reference.facts(), reference.execution()
        assert (reference.time_block({"features": x}, 3) > 0).all()
        with pytest.raises(SpecError, match="ONNX reference"):
            reference.time_block({"image": x}, 1)
    raw = x.astype(np.float64) * [1, 2, -3]
    np.testing.assert_allclose(got["probabilities"], metrics.softmax(raw / 2), atol=1e-6)
    # Of a file that ends in softmax the logits are known up to a number a row.
    shifted = got["logits"] - got["logits"].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(shifted, raw - raw.mean(axis=1, keepdims=True), atol=1e-5)
    assert facts["backend"] == execution.backend == "onnxruntime"
    assert facts["ending"] == "softmax" and facts["batch"] == 1


def test_a_changed_file_is_refused_by_the_worker(folder: Path) -> None:
    data = bytearray((folder / "model.onnx").read_bytes())
    data[-1] ^= 1
    (folder / "model.onnx").write_bytes(data)
    with pytest.raises(CheckpointError, match="SHA-256"):
        ReferenceBackend(folder, threads=1)
