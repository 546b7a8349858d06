"""The networks that edgetl trains, and the reference made of one: input to probabilities."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from edgetl.errors import ConfigError
from edgetl.extras import extra
from edgetl.reference.architectures import HEADS, check_architecture
from edgetl.spec import ClassifierInput, ImageInput, SingleInput, TensorInput, named_parts

_MLP_WIDTH = 128


class Mlp(nn.Module):
    """Two hidden layers of 128 units for a tensor input, flattened.

    Example:
        >>> Mlp(features=64, classes=10)(torch.zeros(2, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(self, *, features: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(features, _MLP_WIDTH),
            nn.ReLU(),
            nn.Linear(_MLP_WIDTH, _MLP_WIDTH),
            nn.ReLU(),
        )
        self.head = nn.Linear(_MLP_WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [n, ...] to raw logits, float32 [n, classes]."""
        return cast(Tensor, self.head(self.body(x)))


class Preprocess(nn.Module):
    """What happens to the input inside the graph, before the network.

    An image batch, uint8 [n, height, width, c], becomes float32 [n, c, height, width], its
    channels in the network's order, in 0..1 or 0..255, minus `mean`, over `std`. A tensor batch,
    float32, passes as it is.

    Example:
        >>> x = torch.full((1, 32, 32, 3), 255, dtype=torch.uint8)
        >>> Preprocess(ImageInput(height=32, width=32, mean=(0.5,) * 3, std=(0.5,) * 3))(x).max()
        tensor(1.)
    """

    mean: Tensor
    std: Tensor

    def __init__(self, input: SingleInput) -> None:
        super().__init__()
        self.is_image = isinstance(input, ImageInput)
        self.reverses = isinstance(input, ImageInput) and input.channels == "bgr"
        self.top = 255.0 if isinstance(input, ImageInput) and input.pixel_range == "0-1" else 1.0
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
        return (pixels / self.top - self.mean) / self.std


class Reference(nn.Module):
    """The whole classifier: input batch to probabilities and raw logits.

    Args:
        network: Raw logits from the normalised batch, as `build_network` gives.
        input: What the classifier takes.
        temperature: Divides the raw logits before the softmax.

    Example:
        >>> model = Reference(Mlp(features=4, classes=3), TensorInput(shape=(4,)), temperature=2.0)
        >>> probabilities, raw_logits = model(torch.ones(5, 4))
        >>> bool(torch.allclose(probabilities.sum(1), torch.ones(5)))
        True
    """

    def __init__(
        self, network: nn.Module, input: ClassifierInput, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.preprocess = nn.ModuleList(Preprocess(part) for part in named_parts(input).values())
        self.network = network
        self.temperature = temperature

    def forward(self, *batches: Tensor) -> tuple[Tensor, Tensor]:
        """A batch of each input, in the spec's order; both outputs are float32 [n, classes]."""
        prepared = [part(batch) for part, batch in zip(self.preprocess, batches, strict=True)]
        raw_logits = self.network(*prepared)
        return torch.softmax(raw_logits / self.temperature, dim=1), raw_logits


def build_network(architecture: str, classes: int, input: ClassifierInput) -> nn.Module:
    """A network with freshly initialised weights, in training mode.

    Args:
        architecture: One of `edgetl.reference.architectures.ARCHITECTURES`. ``mlp`` takes a
            tensor input, the others (torchvision's own constructors) take an image.
        classes: How many outputs.
        input: What the classifier takes; ``vit_b_16`` is built for its size.

    Returns:
        A module from float32 [n, 3, height, width] (or [n, *shape]) to raw logits
        float32 [n, classes].

    Raises:
        ConfigError: For an unknown architecture, an input it does not take, or fewer than two
            classes.
        MissingExtraError: When torchvision is not installed.

    Example:
        >>> network = build_network("mlp", 10, TensorInput(shape=(64,)))
        >>> network(torch.zeros(2, 64)).shape
        torch.Size([2, 10])
    """
    check_architecture(architecture, input)
    if classes < 2:
        raise ConfigError(
            "classes",
            got=str(classes),
            expected="at least 2",
            fix="a classifier of one class has nothing to decide: add the other classes",
        )
    if isinstance(input, TensorInput):
        features = 1
        for size in input.shape:
            features *= size
        return Mlp(features=features, classes=classes)
    assert isinstance(input, ImageInput)
    with extra("train"):
        from torchvision import models
    if architecture == "vit_b_16":
        network = models.vit_b_16(weights=None, num_classes=classes, image_size=input.height)
    else:
        network = models.get_model(architecture, weights=None, num_classes=classes)
    return cast(nn.Module, network)


def head_layer(network: nn.Module, architecture: str) -> str:
    """The dotted name of the last linear layer, whose output is the raw logits.

    Raises:
        ConfigError: When the architecture is unknown, or the network is not of it.

    Example:
        >>> head_layer(Mlp(features=4, classes=2), "mlp")
        'head'
    """
    name = HEADS.get(architecture)
    if name is None:
        raise ConfigError(
            "architecture",
            got=repr(architecture),
            expected=f"one of {', '.join(HEADS)}",
            fix="choose one of them",
        )
    try:
        layer: nn.Module | None = network.get_submodule(name)
    except AttributeError:
        layer = None
    if not isinstance(layer, nn.Linear):
        raise ConfigError(
            f"network {type(network).__name__}",
            got=f"no linear layer '{name}'",
            expected=f"a network of architecture '{architecture}'",
            fix="name the architecture that the network was built with",
        )
    return name
