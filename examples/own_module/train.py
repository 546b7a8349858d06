"""Writes a folder of JPEGs and trains `my_model.SmallNet` on it, without edgetl.

The pictures are scikit-learn's handwritten digits, enlarged to 44 × 44 pixels. The network sees
train/ only: edgetl fits the temperature and chooses the variant on val/, and judges on test/.

    python examples/own_module/train.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from my_model import make_network, transform
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

HERE = Path(__file__).parent
PARTS = {"train": (0, 597), "val": (597, 997), "test": (997, 1797)}


def write_photos(folder: Path) -> None:
    """One folder per class inside train/, val/ and test/."""
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        part = next(name for name, (low, high) in PARTS.items() if low <= number < high)
        target = folder / part / str(label) / f"{number:04d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(np.uint8(image * 15)).resize((44, 44), Image.Resampling.BICUBIC)
        picture.convert("RGB").save(target, quality=95)


def load(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Every picture through the transform, with its label."""
    paths = sorted(folder.rglob("*.jpg"))
    images = torch.stack([transform(Image.open(path).convert("RGB")) for path in paths])
    return images, torch.tensor([int(path.parent.name) for path in paths])


def train(images: torch.Tensor, labels: torch.Tensor, epochs: int = 12) -> torch.nn.Module:
    """Plain PyTorch."""
    torch.manual_seed(0)
    network = make_network(10)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            loss = torch.nn.functional.cross_entropy(network(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        print(f"epoch {epoch + 1} of {epochs}: loss {loss.item():.4f}")
    return network.eval()


def main() -> None:
    """Data, training, weights."""
    photos = HERE / "photos"
    write_photos(photos)
    network = train(*load(photos / "train"))
    save_file(network.state_dict(), HERE / "small_net.safetensors")
    print(f"wrote {photos} and {HERE / 'small_net.safetensors'}")


if __name__ == "__main__":
    main()
