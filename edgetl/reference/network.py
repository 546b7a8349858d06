"""The networks by name, and the reference made of one: input to probabilities."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from edgetl.errors import ConfigError
from edgetl.reference.architectures import (
    HEAD_WIDTH,
    TIMM,
    HeadKind,
    check_architecture,
    known_head,
    mlp_widths,
)
from edgetl.reference.ending import OUTPUT, RAW, Answer, find_answer, raw_logits
from edgetl.reference.factories import timm_network, torchvision_network, user_network
from edgetl.reference.head_kinds import check_head_kind, give_head, known_block
from edgetl.reference.heads import find_head_layer, head_layer
from edgetl.reference.preprocess import Preprocess, Preprocesses
from edgetl.reference.user_code import USER_CODE
from edgetl.spec import ClassifierInput, Head, ImageInput, TensorInput

__all__ = ["Mlp", "Preprocess", "Reference", "build_network", "head_layer"]


class Mlp(nn.Module):
    """Hidden layers with ReLU for a tensor input, flattened; two of 128 units by default.

    Example:
        >>> Mlp(features=64, classes=10)(torch.zeros(2, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self, *, features: int, classes: int, widths: tuple[int, ...] = mlp_widths("mlp")
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in itertools.pairwise((features, *widths)):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], classes)

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
    architecture: str,
    classes: int,
    input: ClassifierInput,
    *,
    code: Path | None = None,
    head_kind: HeadKind = "linear",
    head_width: int = HEAD_WIDTH,
    head: str | None = None,
) -> nn.Module:
    """A network with freshly initialised weights, in training mode.

    Args:
        architecture: One of `edgetl.reference.architectures.ARCHITECTURES` (``mlp`` takes a
            tensor input, the others are torchvision's and take an image), ``mlp:WIDTHS`` (the
            hidden layers' units: ``mlp:10``, ``mlp:64,32``), ``timm:NAME``, or
            ``python:MODULE:FACTORY``, whose weights are what the factory makes them.
        classes: How many outputs.
        input: What the classifier takes; ``vit_b_16`` and timm's transformers are built for its
            size, timm's networks also for its number of channels.
        code: The folder that ``python:`` modules are imported from. Nothing of the user's is
            imported without it.
        head_kind: What stands at its end (`edgetl.reference.head_kinds`); another kind than
            ``"linear"`` takes the place of the last linear layer.
        head_width: Of the hidden layer of the head ``"mlp"``.
        head: The last linear layer that another kind replaces, where the user names it.

    Returns:
        A module from float32 [n, c, height, width] (or [n, *shape], or several of these) to
        float32 [n, classes].

    Raises:
        ConfigError: For an unknown architecture, an input it does not take, fewer than two
            classes, or a kind of head that there is not.
        ModelError: When the user's code raises, or returns something else; when the layer that
            another kind of head should replace cannot be found.
        MissingExtraError: When torchvision or timm is not installed.

    Example:
        >>> network = build_network("mlp", 10, TensorInput(shape=(64,)))
        >>> network(torch.zeros(2, 64)).shape
        torch.Size([2, 10])
        >>> list(build_network("mlp:10", 10, TensorInput(shape=(28, 28)), head_kind="cosine").head)
        [Normalise(), Linear(in_features=10, out_features=10, bias=False)]
    """
    check_architecture(architecture, input)
    check_head_kind(head_kind, head_width)
    if classes < 2:
        raise ConfigError(
            "classes",
            got=str(classes),
            expected="at least 2",
            fix="a classifier of one class has nothing to decide: add the other classes",
        )
    network = _with_own_head(architecture, classes, input, code)
    if head_kind != "linear":
        block = _replaced(network, architecture, input, classes, head)
        give_head(network, block, head_kind, width=head_width, architecture=architecture)
    return network.train()


def _with_own_head(
    architecture: str, classes: int, input: ClassifierInput, code: Path | None
) -> nn.Module:
    if architecture.startswith(USER_CODE):
        if code is None:
            raise ConfigError(
                "architecture",
                got=f"'{architecture}' and no folder of code",
                expected="the folder that the module is in",
                fix="pass code=FOLDER, if you trust what is in it",
            )
        return user_network(architecture, classes, code)
    if isinstance(input, TensorInput):
        features = math.prod(input.shape)
        return Mlp(features=features, classes=classes, widths=mlp_widths(architecture))
    assert isinstance(input, ImageInput)
    if architecture.startswith(TIMM):
        return timm_network(architecture, classes, input)
    return torchvision_network(architecture, classes, input)


def _replaced(
    network: nn.Module, architecture: str, input: ClassifierInput, classes: int, head: str | None
) -> str:
    block, own = known_block(architecture), known_head(architecture)
    if block is None:
        return _found(network, input, classes, head)
    if head in (None, own):
        return block
    raise ConfigError(
        "head",
        got=f"'{head}' for another kind of head",
        expected=f"'{own}', the last linear layer of {architecture}",
        fix="remove head: the layer is known",
    )


def _found(network: nn.Module, input: ClassifierInput, classes: int, head: str | None) -> str:
    """The layer that another kind of head replaces: it must give the logits by itself."""
    labels = tuple(map(str, range(classes)))
    layer = find_head_layer(network, input, labels, head)
    known = layer not in ("", OUTPUT)
    if known and find_answer(network, input=input, head=Head(layer=layer, classes=labels)).at_layer:
        return layer
    raise ConfigError(
        "head_kind",
        got=f"a network whose logits are made after its layer '{layer}'"
        if known
        else f"head = '{layer}', which names no layer inside the network",
        expected="a last linear layer that gives the logits, for another kind of head to replace",
        fix="leave head_kind at 'linear', or let the network end in such a layer",
    )
