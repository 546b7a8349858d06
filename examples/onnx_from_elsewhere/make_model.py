"""Makes an ONNX file as another team might hand it over, without edgetl.

Trained on scikit-learn's digits in the form of a Keras classifier: channels last, pixels 0..255
scaled inside, softmax at the end, a batch size fixed to one.

    python examples/onnx_from_elsewhere/make_model.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

HERE = Path(__file__).parent
SIZE = 24
TRAINED_ON = 400


class ChannelsLast(nn.Module):
    """float32 [1, 24, 24, 3], 0..255, to probabilities [1, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(48 * (SIZE // 4) ** 2, 10),
        )

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """What training needs."""
        return self.body(x.permute(0, 3, 1, 2) / 127.5 - 1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What is handed over."""
        return torch.softmax(self.logits(x), dim=1)


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """uint8 [1797, 8, 8] and labels."""
    digits = load_digits()
    return np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target


def enlarged(grey: np.ndarray) -> torch.Tensor:
    """float32 [n, 24, 24, 3]."""
    bilinear = Image.Resampling.BILINEAR
    resized = [np.asarray(Image.fromarray(one).resize((SIZE, SIZE), bilinear)) for one in grey]
    return torch.from_numpy(np.repeat(np.stack(resized)[..., None], 3, axis=3).astype(np.float32))


def main() -> None:
    """Train, export, and hand over the pictures that were not trained on."""
    grey, target = pictures()
    images = enlarged(grey[:TRAINED_ON])
    labels = torch.from_numpy(target[:TRAINED_ON])
    torch.manual_seed(0)
    network = ChannelsLast()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(25):
        for rows in torch.randperm(TRAINED_ON).split(40):
            loss = nn.functional.cross_entropy(network.logits(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    path = HERE / "digits.onnx"
    torch.onnx.export(
        network.eval(),
        (images[:1],),
        path,
        input_names=["input_1"],
        output_names=["dense"],
        opset_version=18,
        external_data=False,
    )
    held_out = HERE / "held_out.npz"
    np.savez_compressed(held_out, images=grey[TRAINED_ON:], labels=target[TRAINED_ON:])
    print(f"wrote {path} and {held_out}")


if __name__ == "__main__":
    main()
