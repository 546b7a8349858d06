"""What stands at a network's end: its own linear layer, a small MLP, or cosines to class vectors.

Every kind ends in a plain ``nn.Linear`` that gives the raw logits, so that a temperature divides
its weights whatever came before it, and an export needs nothing that is special to a kind.

- ``linear``: the architecture's own last layer.
- ``mlp``: Dense(width), ReLU, Dense(classes).
- ``cosine``: the features at unit length, then a linear layer without bias whose rows all have the
  same length s: a raw logit is s times the cosine between features and row. s starts at 10
  (Gidaris and Komodakis 2018, arXiv:1804.09458) and is learnt.
- ``prototype``: the same network, whose rows start at the class means (Snell 2017,
  arXiv:1703.05175; Chen 2019, arXiv:1904.04232); `edgetl.train.starting_head` puts them there.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from edgetl.errors import ConfigError
from edgetl.reference.architectures import HEAD_KINDS, HEADS, WIDEST, HeadKind, known_head

LAST = "linear"
"""The last layer's name inside the head of a kind other than ``linear``."""

COSINES: tuple[HeadKind, ...] = ("cosine", "prototype")
SCALE = 10.0
# A number that fp16 still holds as a normal one: an engine of that precision must not divide by 0.
SHORTEST = 2.0**-13
# Of SqueezeNet the logits of each place pass a ReLU before their mean is taken, which cosines do
# not bear: there the mean is taken first, as in every other architecture.
_POOLED: dict[str, str] = {"squeezenet1_1": "classifier"}


class Normalise(nn.Module):
    """Features at unit length: x / max(‖x‖₂, 2⁻¹³). A vector of zeros stays one.

    Example:
        >>> Normalise()(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """float [n, d] to float [n, d]."""
        return unit_rows(x)


def unit_rows(x: Tensor) -> Tensor:
    """Each row of float [..., d] at unit length; rows shorter than 2⁻¹³ stay shorter."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    # Not clamp(): it is exported as a Clip, whose bounds the INT8 quantizer takes for its range,
    # and the shortest length would become 0.
    return x / torch.maximum(length, length.new_tensor(SHORTEST))


def check_head_kind(kind: str, width: int) -> None:
    """Refuse a kind of head that there is not, and a width that no layer has.

    Raises:
        ConfigError: Naming the kinds, or the widths.

    Example:
        >>> check_head_kind("mlp", 1024)
    """
    if kind not in HEAD_KINDS:
        raise ConfigError(
            "head_kind",
            got=repr(kind),
            expected=f"one of {', '.join(HEAD_KINDS)}",
            fix="choose one of them",
        )
    if type(width) is not int or not 1 <= width <= WIDEST:
        raise ConfigError(
            "head_width",
            got=repr(width),
            expected=f"a whole number from 1 to {WIDEST}",
            fix="1024 is usual",
        )


def block_name(layer: str, kind: HeadKind) -> str:
    """The dotted name of the whole head, of which `layer` is the last linear layer.

    Features are what enters the whole head, and the whole of it trains while the rest is frozen.

    Example:
        >>> block_name("fc", "linear"), block_name("fc.linear", "mlp")
        ('fc', 'fc')
    """
    return layer if kind == "linear" else layer.rpartition(".")[0]


def known_block(architecture: str) -> str | None:
    """Where a kind other than ``linear`` stands in an architecture; None when no name tells it.

    Example:
        >>> known_block("resnet18"), known_block("squeezenet1_1")
        ('fc', 'classifier.head')
    """
    pooled = _POOLED.get(architecture)
    return known_head(architecture) if pooled is None else f"{pooled}.head"


def give_head(
    network: nn.Module, block: str, kind: HeadKind, *, width: int, architecture: str = ""
) -> str:
    """Replace a network's last linear layer by a head of another kind, with random weights.

    Args:
        network: Changed in place.
        block: The last linear layer's dotted name (or a convolution's of 1 x 1 that sees one
            place), as `known_block` or `edgetl.reference.heads.find_head_layer` give it.
        kind: Any; ``linear`` changes nothing.
        width: Of the hidden layer of ``mlp``.
        architecture: What the network is of, where a name tells.

    Returns:
        The dotted name of the new last linear layer.

    Raises:
        ConfigError: When there is no such layer, or it is the whole network.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
        >>> give_head(network, "1", "mlp", width=5)
        '1.linear'
        >>> network(torch.ones(2, 8)).shape
        torch.Size([2, 3])
    """
    check_head_kind(kind, width)
    if kind == "linear":
        return block
    pooled = _POOLED.get(architecture)
    old = _replaced(network, block if pooled is None else HEADS[architecture])
    if pooled is not None:
        network.set_submodule(pooled, _pooling())
    flat = isinstance(old, nn.Conv2d) and pooled is None
    network.set_submodule(block, _head(kind, *_sizes(old), width=width, flatten=flat))
    return f"{block}.{LAST}"


def _replaced(network: nn.Module, name: str) -> nn.Linear | nn.Conv2d:
    try:
        layer: nn.Module | None = network.get_submodule(name) if name else None
    except AttributeError:
        layer = None
    if isinstance(layer, nn.Linear | nn.Conv2d):
        return layer
    raise ConfigError(
        f"network {type(network).__name__}",
        got=f"no linear layer '{name}' inside it",
        expected="a last linear layer that a head of another kind can take the place of",
        fix="name it in head, or leave head_kind at 'linear'",
    )


def _sizes(layer: nn.Linear | nn.Conv2d) -> tuple[int, int]:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return layer.in_channels, layer.out_channels


def _pooling() -> nn.Sequential:
    parts = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "head": nn.Identity()}
    return nn.Sequential(OrderedDict[str, nn.Module](parts))


def _head(
    kind: HeadKind, features: int, classes: int, *, width: int, flatten: bool
) -> nn.Sequential:
    parts = OrderedDict[str, nn.Module]()
    if flatten:
        parts["flatten"] = nn.Flatten()
    if kind == "mlp":
        parts["hidden"] = nn.Linear(features, width)
        parts["relu"] = nn.ReLU()
        parts[LAST] = nn.Linear(width, classes)
    else:
        parts["normalise"] = Normalise()
        parts[LAST] = _cosine_layer(features, classes)
    return nn.Sequential(parts)


def _cosine_layer(features: int, classes: int) -> nn.Linear:
    layer = nn.Linear(features, classes, bias=False)
    set_rows(layer, torch.randn_like(layer.weight), SCALE)
    return layer


def set_rows(layer: nn.Linear, directions: Tensor, scale: float) -> None:
    """Give a cosine head's last layer rows of one length.

    Args:
        layer: Its last layer; changed in place.
        directions: float [classes, d], of any length.
        scale: The length of every row.
    """
    with torch.no_grad():
        layer.weight.copy_(scale * unit_rows(directions.to(layer.weight)))
