"""Each kind of head goes all the way: disk, worker, ONNX, INT8 and the gate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from edgetl.backends import registry
from edgetl.data.sources import open_dataset
from edgetl.export.onnx_from_torch import onnx_from_torch
from edgetl.export.parity import check_parity
from edgetl.gate import Policy, Predictions, judge
from edgetl.metrics import softmax
from edgetl.quantize.qdq import int8_from_fp32
from edgetl.quantize.refit import scale_head
from edgetl.reference.answering import load_answering
from edgetl.reference.architectures import HEAD_KINDS, HeadKind
from edgetl.reference.checkpoint import load_classifier, save_classifier
from edgetl.reference.client import ReferenceBackend
from edgetl.reference.description import ClassifierDescription
from edgetl.reference.heads import head_of
from edgetl.reference.network import build_network
from edgetl.spec import Head, Precision, TensorInput, Variant
from edgetl.train.starting_head import in_training_form

ARCHITECTURE = "mlp:32"
INPUT = TensorInput(shape=(8, 8))
CLASSES = tuple("0123456789")


@pytest.fixture(scope="module")
def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    dataset = open_dataset("builtin:digits")
    images = np.asarray(dataset.images, np.float32) / 16
    # A blank image, of which the features may well be zeros.
    images[0] = 0
    return images, dataset.labels


def trained(
    kind: HeadKind, folder: Path, digits: tuple[NDArray[np.float32], NDArray[np.int64]]
) -> Path:
    torch.manual_seed(0)
    network = build_network(ARCHITECTURE, 10, INPUT, head_kind=kind, head_width=24)
    layer = head_of(network, ARCHITECTURE, input=INPUT, classes=CLASSES, head_kind=kind)
    x, y = torch.from_numpy(digits[0][:900]), torch.from_numpy(digits[1][:900])
    with in_training_form(network, layer, kind):
        steps = torch.optim.Adam(network.parameters(), lr=0.02)
        for _ in range(60):
            steps.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            steps.step()
    with torch.no_grad():
        # Features of the blank image become zeros: no cosine is defined there.
        network.body[1].bias -= torch.relu(network.body[1].bias)
    description = ClassifierDescription(
        architecture=ARCHITECTURE,
        input=INPUT,
        head=Head(layer=layer, classes=CLASSES, temperature=1.7),
        head_kind=kind,
        head_width=24,
    )
    save_classifier(folder, network, description)
    return folder


def answers(model: bytes, inputs: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    variant = Variant(id=name, backend=name, precision=Precision.FP32, files=("m.onnx",))
    backend = registry.load(variant, {"m.onnx": model}, threads=1)
    try:
        return backend.run({INPUT.tensor.name: inputs})["probabilities"]
    finally:
        backend.close()


@pytest.mark.parametrize("kind", HEAD_KINDS)
def test_a_head_of_any_kind_is_exported_quantized_and_judged(
    kind: HeadKind, tmp_path: Path, digits: tuple[NDArray[np.float32], NDArray[np.int64]]
) -> None:
    folder = trained(kind, tmp_path / "reference", digits)
    asked, labels = digits[0][900:], digits[1][900:]
    asked = np.concatenate([digits[0][:1], asked[1:]])
    want = load_answering(folder, threads=1).answer({INPUT.tensor.name: asked})["probabilities"]
    assert (want.argmax(1) == labels)[1:].mean() > 0.85
    network, description = load_classifier(folder)
    with torch.no_grad():
        zeros = network.body(torch.from_numpy(asked[:1]))
    assert not zeros.any() and np.isfinite(want).all()
    if kind in ("cosine", "prototype"):
        np.testing.assert_allclose(want[0], 0.1, atol=1e-6)

    model = onnx_from_torch(network, input=INPUT, head=description.head)
    parity = check_parity(model, want[:64], {INPUT.tensor.name: asked[:64]}, threads=1)
    assert parity.difference < 1e-6 and parity.spread > 0.1
    # The temperature is in the last layer's own weights, and nothing multiplies after it.
    nodes = [node.op_type for node in onnx.load_from_string(model).graph.node]
    assert nodes[-2:] == ["Gemm", "Softmax"]

    samples = {INPUT.tensor.name: digits[0][:300]}
    quantized = int8_from_fp32(model, samples, threads=1)
    operators = [node.op_type for node in onnx.load_from_string(quantized).graph.node]
    assert "QuantizeLinear" in operators
    got = answers(quantized, asked, "onnxruntime")
    assert np.isfinite(got).all()
    cooler = answers(scale_head(quantized, 1.25), asked, "onnxruntime")
    np.testing.assert_allclose(cooler, softmax(np.log(np.maximum(got, 1e-30)) / 1.25), atol=1e-5)
    verdict = judge(
        Predictions(labels=labels, probabilities=want),
        Predictions(labels=labels, probabilities=got),
        Policy(max_accuracy_drop=0.05, max_flip_rate=0.1),
    )
    failed = [gate for gate in verdict.gates if gate.verdict == "FAIL"]
    assert verdict.verdict == "PASS", failed


def test_the_worker_answers_a_cosine_head(
    tmp_path: Path, digits: tuple[NDArray[np.float32], NDArray[np.int64]]
) -> None:
    folder = trained("cosine", tmp_path / "reference", digits)
    inputs = {INPUT.tensor.name: digits[0][:50]}
    want = load_answering(folder, threads=1).answer(inputs)
    with ReferenceBackend(folder, threads=1) as worker:
        got = worker.run(inputs)
    for name in ("probabilities", "logits"):
        np.testing.assert_array_equal(got[name], want[name])
