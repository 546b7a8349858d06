"""Folders of small pictures that are told apart by their pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def pixels(seed: int, height: int = 12, width: int = 10) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image | NDArray[np.uint8], kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(stream, kind, **options)
    return stream.getvalue()


def make_folder(root: Path, counts: dict[str, int], *, first: int = 0) -> Path:
    """One folder a class with so many PNG files, no two alike."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for at in range(count):
            (root / name / f"{at:03}.png").write_bytes(encoded(pixels(first)))
            first += 1
    return root
