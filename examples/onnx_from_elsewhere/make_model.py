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


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """The digits as edgetl's `builtin:digits` has them, at the network's size."""
    digits = load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    bilinear = Image.Resampling.BILINEAR
    resized = [np.asarray(Image.fromarray(one).resize((SIZE, SIZE), bilinear)) for one in grey]
    images = np.repeat(np.stack(resized)[..., None], 3, axis=3).astype(np.float32)
    return torch.from_numpy(images), torch.from_numpy(digits.target)


def main() -> None:
    """Train and export."""
    images, labels = pictures()
    torch.manual_seed(0)
    network = ChannelsLast()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(15):
        for rows in torch.randperm(1000).split(50):
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
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
