"""Small folders in the layouts of CUB-200-2011 and of Oxford's flowers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.data.helpers.pictures import encoded, pixels


def make_cub(root: Path, *, classes: int = 3, train: int = 4, test: int = 2) -> Path:
    """So many pictures of each class, no two alike; the numbers begin at 1."""
    names = [f"{at + 1:03}.Bird_{at}" for at in range(classes)]
    lines: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": []}
    number = 0
    for label, name in enumerate(names, start=1):
        (root / "images" / name).mkdir(parents=True)
        for at in range(train + test):
            number += 1
            written = f"{name}/Bird_{at:04}.jpg"
            (root / "images" / written).write_bytes(encoded(pixels(number), "JPEG"))
            lines["images"].append(f"{number} {written}")
            lines["image_class_labels"].append(f"{number} {label}")
            lines["train_test_split"].append(f"{number} {int(at < train)}")
    lines["classes"] = [f"{at} {name}" for at, name in enumerate(names, start=1)]
    for name, held in lines.items():
        (root / f"{name}.txt").write_text("\n".join(held) + "\n", encoding="utf-8")
    return root


def make_flowers(root: Path, labels: list[int], parts: dict[str, list[int]]) -> Path:
    """Pictures numbered from 1 with these labels; `parts` as in setid.mat."""
    from scipy.io import savemat

    (root / "jpg").mkdir(parents=True)
    for at in range(len(labels)):
        picture = encoded(pixels(at), "JPEG")
        (root / "jpg" / f"image_{at + 1:05}.jpg").write_bytes(picture)
    savemat(root / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})
    savemat(root / "setid.mat", {name: np.array([held], np.uint16) for name, held in parts.items()})
    return root
