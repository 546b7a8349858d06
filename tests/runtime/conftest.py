from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.backends import registry
from edgetl.backends.openvino import import_openvino
from edgetl.bundle import BundleContent, GoldenSet, ManifestVariant, write_bundle
from edgetl.data.decode import encode_png
from edgetl.runtime.answers import answers
from edgetl.spec import ImageInput, Precision, TensorInput, Variant

SIZE = 12
CLASSES = ("red", "green", "blue", "grey")
IMAGE = ImageInput(height=SIZE, width=SIZE)
TENSOR = TensorInput(shape=(6,))


def _save(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], value: Any) -> bytes:
    output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", len(CLASSES)])
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "net", [value], [output], initializer=tensors)
    opsets = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def conv_net() -> bytes:
    """uint8 NHWC → convolution → pooled channels → linear → softmax.

    The bias centres the logits of plain pictures: random weights alone answer all of them alike.
    """
    random = np.random.default_rng(0)
    conv = random.standard_normal((16, 3, 3, 3)).astype(np.float32)
    colours = images(256, seed=2).mean(axis=(1, 2)) * (4 / 255)
    pooled = np.maximum(colours @ conv.sum(axis=(2, 3)).T, 0)
    linear = random.standard_normal((16, len(CLASSES)))
    linear *= 4 / ((pooled - pooled.mean(axis=0)) @ linear).std(axis=0)
    weights = {
        "scale": np.array(4 / 255, np.float32),
        "conv": conv,
        "linear": linear.astype(np.float32),
        "bias": (-pooled.mean(axis=0) @ linear).astype(np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        node("Transpose", ["float"], ["nchw"], perm=[0, 3, 1, 2]),
        node("Mul", ["nchw", "scale"], ["scaled"]),
        node("Conv", ["scaled", "conv"], ["maps"], kernel_shape=[3, 3]),
        node("Relu", ["maps"], ["positive"]),
        node("GlobalAveragePool", ["positive"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "linear", "bias"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    value = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIZE, SIZE, 3])
    return _save(nodes, weights, value)


def linear_net() -> bytes:
    """float32 [n, 6] → linear → softmax."""
    linear = np.random.default_rng(1).standard_normal((6, len(CLASSES))).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["features", "linear"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    value = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 6])
    return _save(nodes, {"linear": linear}, value)


def images(count: int, seed: int = 0) -> np.ndarray:
    """Pictures of one plain colour each with a little noise, uint8 [n, 12, 12, 3]."""
    random = np.random.default_rng(seed)
    colours = random.integers(0, 230, (count, 1, 1, 3))
    return (colours + random.integers(0, 25, (count, SIZE, SIZE, 3))).astype(np.uint8)


def _ir(model: bytes, folder: Path) -> tuple[bytes, bytes]:
    openvino = import_openvino()
    openvino.serialize(openvino.Core().read_model(model), folder / "m.xml", folder / "m.bin")
    return (folder / "m.xml").read_bytes(), (folder / "m.bin").read_bytes()


def variant(name: str, backend: str, *files: str, p50: float | None = None) -> ManifestVariant:
    """An FP32 variant that passed."""
    return ManifestVariant(
        variant=Variant(id=name, backend=backend, precision=Precision.FP32, files=files),
        verdict="PASS",
        p50_ms=p50,
    )


@pytest.fixture(scope="session")
def content(tmp_path_factory: pytest.TempPathFactory) -> BundleContent:
    """One convolutional network for both backends, with the golden answers of each."""
    model = conv_net()
    xml, weights = _ir(model, tmp_path_factory.mktemp("ir"))
    models = {"models/net.onnx": model, "models/net.xml": xml, "models/net.bin": weights}
    variants = (
        variant("ort-fp32", "onnxruntime", "models/net.onnx", p50=2.0),
        variant("openvino-fp32", "openvino", "models/net.xml", "models/net.bin", p50=1.0),
    )
    golden = tuple(encode_png(image) for image in images(6))
    own = {}
    for one in variants:
        files = {path: models[path] for path in one.variant.files}
        backend = registry.load(one.variant, files, threads=1)
        own[one.variant.id] = answers(backend, golden, IMAGE, classes=len(CLASSES))
        backend.close()
    return BundleContent(
        name="colours",
        version="1.0",
        classes=CLASSES,
        input=IMAGE,
        variants=variants,
        models=models,
        golden=GoldenSet(kind="real", inputs=golden, reference=own["ort-fp32"], answers=own),
    )


@pytest.fixture(scope="session")
def bundle(content: BundleContent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `content`; not to be changed."""
    return write_bundle(tmp_path_factory.mktemp("bundle"), content)


@pytest.fixture
def write(content: BundleContent, tmp_path: Path) -> Any:
    """Writes the bundle with some parts changed."""

    def _write(**changes: Any) -> Path:
        return write_bundle(tmp_path, dataclasses.replace(content, **changes))

    return _write


@pytest.fixture(scope="session")
def tensor_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of six features."""
    return write_bundle(
        tmp_path_factory.mktemp("tensor"),
        BundleContent(
            name="features",
            version="1",
            classes=CLASSES,
            input=TENSOR,
            variants=(variant("ort-fp32", "onnxruntime", "models/net.onnx", p50=1.0),),
            models={"models/net.onnx": linear_net()},
        ),
    )


@pytest.fixture
def pictures() -> np.ndarray:
    """64 pictures, uint8 [64, 12, 12, 3]."""
    return images(64, seed=1)
