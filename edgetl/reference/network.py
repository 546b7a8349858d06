"""The networks by name, and the reference made of one: input to probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from edgetl.errors import ConfigError
from edgetl.reference.architectures import TIMM, check_architecture
from edgetl.reference.ending import OUTPUT, RAW, Answer, find_answer, raw_logits
from edgetl.reference.factories import timm_network, torchvision_network, user_network
from edgetl.reference.heads import head_layer
from edgetl.reference.preprocess import Preprocess, Preprocesses
from edgetl.reference.user_code import USER_CODE
from edgetl.spec import ClassifierInput, Head, ImageInput, TensorInput

__all__ = ["Mlp", "Preprocess", "Reference", "build_network", "head_layer"]

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


class Reference(nn.Module):
    """The whole classifier: input batches to probabilities and raw logits.

    Args:
        network: From the prepared batches to [n, classes].
        input: What the classifier takes.
        temperature: Divides the raw logits before the softmax.
        layer: The head layer's dotted name, for a network with a softmax of its own.
        answer: How the network answers (`edgetl.reference.ending.find_answer`); by default its
            output is the raw logits.
        contiguous: See `edgetl.reference.preprocess.Preprocess`.

    Example:
        >>> model = Reference(Mlp(features=4, classes=3), TensorInput(shape=(4,)), temperature=2.0)
        >>> probabilities, raw_logits = model(torch.ones(5, 4))
        >>> bool(torch.allclose(probabilities.sum(1), torch.ones(5)))
        True
    """

    def __init__(
        self,
        network: nn.Module,
        input: ClassifierInput,
        temperature: float = 1.0,
        *,
        layer: str = OUTPUT,
        answer: Answer = RAW,
        contiguous: bool = True,
    ) -> None:
        super().__init__()
        self.preprocess = Preprocesses(input, contiguous=contiguous)
        self.network = network
        self.temperature = temperature
        self.layer = layer
        self.answer = answer

    @classmethod
    def of(cls, network: nn.Module, input: ClassifierInput, head: Head) -> Reference:
        """The reference of a network that may end in softmax or log-softmax, found by running it.

        Raises:
            ModelError: When the network does not fit its head or the input.
        """
        answer = find_answer(network, input=input, head=head)
        return cls(network, input, head.temperature, layer=head.layer, answer=answer)

    def forward(self, *batches: Tensor) -> tuple[Tensor, Tensor]:
        """A batch of each input, in the spec's order; both outputs are float32 [n, classes]."""
        prepared = self.preprocess.apply_to(batches)
        raw = raw_logits(self.network, self.layer, self.answer, prepared)
        return torch.softmax(raw / self.temperature, dim=1), raw


def build_network(
    architecture: str, classes: int, input: ClassifierInput, *, code: Path | None = None
) -> nn.Module:
    """A network with freshly initialised weights, in training mode.

    Args:
        architecture: One of `edgetl.reference.architectures.ARCHITECTURES` (``mlp`` takes a
            tensor input, the others are torchvision's and take an image), ``timm:NAME``, or
            ``python:MODULE:FACTORY``, whose weights are what the factory makes them.
        classes: How many outputs.
        input: What the classifier takes; ``vit_b_16`` and timm's transformers are built for its
            size, timm's networks also for its number of channels.
        code: The folder that ``python:`` modules are imported from. Nothing of the user's is
            imported without it.

    Returns:
        A module from float32 [n, c, height, width] (or [n, *shape], or several of these) to
        float32 [n, classes].

    Raises:
        ConfigError: For an unknown architecture, an input it does not take, or fewer than two
            classes.
        ModelError: When the user's code raises, or returns something else.
        MissingExtraError: When torchvision or timm is not installed.

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
    if architecture.startswith(USER_CODE):
        if code is None:
            raise ConfigError(
                "architecture",
                got=f"'{architecture}' and no folder of code",
                expected="the folder that the module is in",
                fix="pass code=FOLDER, if you trust what is in it",
            )
        return user_network(architecture, classes, code).train()
    if isinstance(input, TensorInput):
        features = 1
        for size in input.shape:
            features *= size
        return Mlp(features=features, classes=classes)
    assert isinstance(input, ImageInput)
    if architecture.startswith(TIMM):
        return timm_network(architecture, classes, input).train()
    return torchvision_network(architecture, classes, input)
