"""What happens to an input between the graph's edge and the network, in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgetl.spec import ClassifierInput, ImageInput, SingleInput, named_parts


class Preprocess(nn.Module):
    """What happens to the input inside the graph, before the network.

    An image batch, uint8 [n, height, width, c], becomes float32 [n, c, height, width], its
    channels in the network's order, in 0..1 or 0..255, minus `mean`, over `std`. A tensor batch,
    float32, passes as it is.

    Args:
        input: The image or tensor.
        contiguous: Whether the result lies in memory as its shape says, which a network that
            calls ``view`` needs; otherwise the channels stay innermost, as they came.

    Example:
        >>> x = torch.full((1, 32, 32, 3), 255, dtype=torch.uint8)
        >>> Preprocess(ImageInput(height=32, width=32, mean=(0.5,) * 3, std=(0.5,) * 3))(x).max()
        tensor(1.)
    """

    mean: Tensor
    std: Tensor

    def __init__(self, input: SingleInput, *, contiguous: bool = True) -> None:
        super().__init__()
        self.is_image = isinstance(input, ImageInput)
        self.reverses = isinstance(input, ImageInput) and input.channels == "bgr"
        self.top = 255.0 if isinstance(input, ImageInput) and input.pixel_range == "0-1" else 1.0
        self.contiguous = contiguous
        mean, std = (input.mean, input.std) if isinstance(input, ImageInput) else ((0.0,), (1.0,))
        # Not part of a checkpoint's weights: classifier.json is the one place that says them.
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The input batch to what the network takes."""
        if not self.is_image:
            return x
        # The cast comes first: TensorRT accepts uint8 only as the input of a cast.
        pixels = x.to(torch.float32).permute(0, 3, 1, 2)
        if self.reverses:
            pixels = pixels.flip(1)
        normal = (pixels / self.top - self.mean) / self.std
        # Not contiguous(): of one channel both layouts are, and convolutions then take the other.
        return normal.clone(memory_format=torch.contiguous_format) if self.contiguous else normal


class Preprocesses(nn.ModuleList):
    """One `Preprocess` an input, in the spec's order.

    Example:
        >>> from edgetl.spec import TensorInput
        >>> Preprocesses(TensorInput(shape=(4,))).apply_to([torch.ones(2, 4)])[0].shape
        torch.Size([2, 4])
    """

    def __init__(self, input: ClassifierInput, *, contiguous: bool = True) -> None:
        super().__init__(
            Preprocess(part, contiguous=contiguous) for part in named_parts(input).values()
        )

    def apply_to(self, batches: Sequence[Tensor]) -> list[Tensor]:
        """A batch of each input to what the network takes, in the same order."""
        return [part(batch) for part, batch in zip(self, batches, strict=True)]


def probe_batches(input: ClassifierInput) -> list[Tensor]:
    """Two random samples of each input as the network takes them, the same every time.

    Example:
        >>> probe_batches(ImageInput(height=4, width=5))[0].shape
        torch.Size([2, 3, 4, 5])
    """
    generator = torch.Generator().manual_seed(0)
    drawn = [_drawn(part, generator) for part in named_parts(input).values()]
    return Preprocesses(input).apply_to(drawn)


def _drawn(input: SingleInput, generator: torch.Generator) -> Tensor:
    shape = [2 if size is None else size for size in input.tensor.shape]
    if isinstance(input, ImageInput):
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return torch.rand(shape, generator=generator)
