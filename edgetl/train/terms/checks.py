"""What terms refuse alike: weights of terms, temperatures, and parameters that are not there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgetl.errors import ConfigError
from edgetl.reference.ending import OUTPUT
from edgetl.reference.head_kinds import LAST

_NAMED = 5


def check_weight(name: str, value: float) -> None:
    """Refuse a term's weight that is negative, NaN or infinite.

    Raises:
        ConfigError: Naming the key.

    Example:
        >>> check_weight("l2_sp.weight", 0.01)
    """
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise ConfigError(
            name,
            got=repr(value),
            expected="a finite number from 0: below 0 the loss would reward what it is to avoid",
            fix="set it to 0 to leave the term out, or to a number above",
        )


def check_temperature(name: str, value: float) -> None:
    """Refuse a temperature that is not a finite number above 0.

    Raises:
        ConfigError: Naming the key.

    Example:
        >>> check_temperature("distillation.temperature", 4.0)
    """
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise ConfigError(
            name,
            got=repr(value),
            expected="a finite number above 0",
            fix="set it to 2, which Li and Hoiem 2016 took, or to 1 for the answers as they are",
        )


def listed(names: Sequence[str]) -> str:
    """Quoted names for an error, the first five.

    Example:
        >>> listed(("a", "b"))
        "'a', 'b'"
    """
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:_NAMED]) + more


def weights_by_name(network: nn.Module) -> dict[str, Tensor]:
    """The parameters, and what parametrisations make of theirs under the name of the result.

    A head of cosines learns directions and a length; a checkpoint has the weight that they make.

    Example:
        >>> from torch.nn.utils.parametrizations import weight_norm
        >>> network = nn.Sequential(weight_norm(nn.Linear(4, 2, bias=False)))
        >>> weights_by_name(network)["0.weight"].shape
        torch.Size([2, 4])
    """
    found: dict[str, Tensor] = dict(network.named_parameters())
    for owner, module in network.named_modules():
        if parametrize.is_parametrized(module):
            for leaf in cast(nn.ModuleDict, module.parametrizations):
                made = cast(Tensor, getattr(module, leaf))
                found[f"{owner}.{leaf}" if owner else leaf] = made
    return found


def anchored(
    term: str, network: nn.Module, anchors: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """The weights that train now and have an anchor, by name (`weights_by_name`).

    Raises:
        ConfigError: When a parameter of that name is gone, as LoRA's layers take the place of
            linear ones.
    """
    parameters = weights_by_name(network)
    gone = next((name for name in anchors if name not in parameters), None)
    if gone is not None:
        raise ConfigError(
            term,
            got=f"a network without the parameter '{gone}'",
            expected="the network that the term was built for",
            fix="leave the term out with recipe = 'lora', which never moves the starting weights",
        )
    for name in anchors:
        if parameters[name].requires_grad:
            yield name, parameters[name]


def head_block(network: nn.Module, layer: str) -> str:
    """The dotted name of the whole head, of which `layer` is the last linear layer.

    A head of another kind than ``linear`` (`edgetl.reference.head_kinds.give_head`) is a module
    with more than that layer in it, all of it new.

    Example:
        >>> from edgetl.reference.head_kinds import give_head
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
        >>> head_block(network, "1"), head_block(network, give_head(network, "1", "mlp", width=5))
        ('1', '1')
    """
    parent, _, leaf = layer.rpartition(".")
    if layer == OUTPUT or leaf != LAST or not parent:
        return layer
    parts = dict(network.get_submodule(parent).named_children())
    return parent if "hidden" in parts or "normalise" in parts else layer
