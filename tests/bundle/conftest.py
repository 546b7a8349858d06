from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl.bundle import BundleContent, GoldenSet, ManifestVariant, write_bundle
from edgetl.spec import ImageInput, Precision, Variant

CLASSES = ("ant", "bee", "Käfer")


def _png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _answers(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(3), size=2).astype(np.float32)


@pytest.fixture(scope="session")
def content() -> BundleContent:
    """Three variants, two of which share files; the models are bytes that nothing loads."""
    ir = ("models/net.xml", "models/net.bin")
    variants = tuple(
        ManifestVariant(
            variant=Variant(
                id=f"openvino-{precision}",
                backend="openvino",
                precision=precision,
                files=ir,
                settings={"hint": str(precision)},
            ),
            verdict="PASS",
            temperature=1.25,
            p50_ms=p50,
            execution={"threads": 2, "layers": [{"type": "Convolution", "precision": "f32"}]},
        )
        for precision, p50 in ((Precision.FP32, 2.0), (Precision.BF16, 1.0))
    )
    plain = ManifestVariant(
        variant=Variant(
            id="ort-int8",
            backend="onnxruntime",
            precision=Precision.INT8,
            files=("models/int8.onnx",),
        )
    )
    golden = GoldenSet(
        kind="real",
        inputs=(_png(0), _png(1)),
        reference=_answers(0),
        answers={one.variant.id: _answers(at) for at, one in enumerate((*variants, plain))},
    )
    return BundleContent(
        name="insects",
        version="1.0.2",
        classes=CLASSES,
        input=ImageInput(height=8, width=8),
        variants=(*variants, plain),
        models={
            "models/net.xml": b"<net/>",
            "models/net.bin": bytes(range(256)),
            "models/int8.onnx": b"",
        },
        golden=golden,
        verdict=b'{"verdict": "PASS"}\n',
        reference={"top1": 0.9375, "n": 720},
    )


@pytest.fixture(scope="session")
def _written(content: BundleContent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("written"), content)


@pytest.fixture
def folder(_written: Path, tmp_path: Path) -> Path:
    """The bundle of `content` on disk, a copy for each test."""
    return Path(shutil.copytree(_written, tmp_path / "made" / _written.name))
