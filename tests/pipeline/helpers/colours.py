"""Releases of a classifier that tells which colour a picture has most of, and pictures for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from edgetl.bundle import BundleContent, ManifestVariant, write_bundle
from edgetl.data.decode import encode_png
from edgetl.spec import ImageInput, Precision, Variant

CLASSES = ("red", "green", "blue")
_NET = """
<ir_version: 10, opset_import: ["": 20]>
net (uint8[n, 8, 8, 3] image) => (float[n, 3] probabilities)
<float[3, 3] weights = {WEIGHTS}, int64[2] axes = {1, 2}>
{
    pixels = Cast <to = 1> (image)
    colour = ReduceMean <keepdims = 0> (pixels, axes)
    logits = MatMul (colour, weights)
    probabilities = Softmax <axis = -1> (logits)
}
"""


def write_release(
    folder: Path,
    version: str,
    *,
    sharpness: float = 0.05,
    tilt: float = 0.0,
    classes: tuple[str, ...] = CLASSES,
) -> Path:
    """A bundle for ONNX Runtime.

    Args:
        folder: Where to write it.
        version: Of the release.
        sharpness: What a colour's mean is multiplied with.
        tilt: How much of the first colour is taken for the second.
        classes: The order of the classes, or other names.
    """
    weights = sharpness * np.eye(3)
    weights[0, 1] = tilt
    order = [CLASSES.index(name) for name in classes] if set(classes) == set(CLASSES) else [0, 1, 2]
    numbers = ", ".join(f"{value:g}" for value in weights[:, order].reshape(-1))
    model = onnx.parser.parse_model(_NET.replace("WEIGHTS", numbers)).SerializeToString()
    variant = Variant(
        id="ort-fp32",
        backend="onnxruntime",
        precision=Precision.FP32,
        files=("models/net.onnx",),
    )
    return write_bundle(
        folder,
        BundleContent(
            name="colours",
            version=version,
            classes=classes,
            input=ImageInput(height=8, width=8),
            variants=(ManifestVariant(variant=variant, verdict="PASS", p50_ms=1.0),),
            models={"models/net.onnx": model},
        ),
    )


def pictures(count: int, seed: int = 0) -> tuple[list[bytes], np.ndarray]:
    """PNG files of 8 × 8 pixels, and which colour was mixed in most, int64 [count]."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    files = []
    for label in labels:
        colour = random.integers(40, 140, 3)
        colour[label] += random.integers(10, 100)
        noise = random.integers(-20, 20, (8, 8, 3))
        files.append(encode_png((colour + noise).astype(np.uint8)))
    return files, labels


def write_pictures(folder: Path, count: int, *, seed: int = 0, labelled: bool = True) -> Path:
    """The pictures in one folder a class, or all in one that says nothing."""
    files, labels = pictures(count, seed)
    for number, (data, label) in enumerate(zip(files, labels, strict=True)):
        place = folder / CLASSES[label] if labelled else folder / f"roll {number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(data)
    return folder
