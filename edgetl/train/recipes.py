"""Recipes as phases: which parameters train, for how long, at what rate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgetl.train.config import FinetuneConfig, Optimizer
from edgetl.train.depth import Depth

_MOMENTUM = 0.9


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of training with one optimiser and one schedule.

    Attributes:
        name: ``"head"`` trains the whole head on a frozen body, ``"all"`` what the config's
            `train_from` leaves to train, ``"lora"`` the head and LoRA's matrices.
        epochs: How many, at most.
        learning_rate: The peak of the schedule.
        solved: The head is not trained by steps but solved to convergence.
        gradual: The body thaws block by block, one more each epoch, from the head down.
    """

    name: Literal["head", "all", "lora"]
    epochs: int
    learning_rate: float
    solved: bool = False
    gradual: bool = False


def phases(config: FinetuneConfig) -> tuple[Phase, ...]:
    """The phases of the config's recipe, in order.

    Example:
        >>> config = FinetuneConfig(architecture="mlp", weights="none", recipe="two-stage")
        >>> [phase.name for phase in phases(config)]
        ['head', 'all']
    """
    epochs = config.epochs if config.recipe == "linear-probe" else config.head_epochs
    head = Phase(name="head", epochs=epochs, learning_rate=config.head_learning_rate)
    last = Phase(
        name="lora" if config.recipe == "lora" else "all",
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        gradual=config.recipe == "gradual",
    )
    solved = Phase(name="head", epochs=1, learning_rate=0.0, solved=True)
    return {
        "linear-probe": (head,),
        "two-stage": (head, last),
        "gradual": (head, last),
        "full": (last,),
        "lp-ft": (solved, last),
        "lora": (last,),
    }[config.recipe]


def first_trained(
    phase: Phase, done: int, depth: Depth | None, *, train_from: str | None = None
) -> int:
    """The place in the network from which on modules train in an epoch of the last phase.

    Args:
        phase: Not a head phase.
        done: How many of its epochs are over.
        depth: Of the network; None where everything trains.
        train_from: The config's: nothing before that module ever trains.

    Returns:
        0 for everything; else a place in `Depth.order`.

    Example:
        >>> depth = Depth(order={"": 0}, blocks=(("a", 1), ("b", 2), ("c", 5), ("head", 7)))
        >>> gradual = Phase(name="all", epochs=9, learning_rate=0.1, gradual=True)
        >>> [first_trained(gradual, done, depth) for done in range(4)]
        [5, 2, 0, 0]
    """
    if depth is None:
        return 0
    floor = 0 if train_from is None else depth.of_module(train_from)
    if not phase.gradual:
        return floor
    below = [start for _, start in depth.blocks[1:-1] if start > floor]
    # With fewer epochs than blocks several thaw together, so that all have done so at the end.
    steps = min(len(below) + 1, phase.epochs)
    left = math.floor((len(below) + 1) * (steps - 1 - done) / steps) if done < steps else 0
    return below[left - 1] if left > 0 else floor


def set_trainable(
    network: nn.Module,
    head: nn.Module,
    phase: Phase,
    *,
    depth: Depth | None = None,
    first: int = 0,
) -> None:
    """Freeze or thaw for a phase.

    What is frozen is put in eval mode too: in training mode the batch statistics of a frozen part
    would still move.

    Args:
        network: Changed in place.
        head: Its whole head.
        phase: What trains; ``"lora"`` leaves what requires a gradient as it is.
        depth: Of the network, where only a part of the body trains.
        first: As `first_trained` says it.
    """
    network.train(phase.name != "head")
    if phase.name == "lora":
        for module in network.modules():
            if not any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
                _still(module)
        return
    for parameter in network.parameters():
        parameter.requires_grad_(phase.name != "head")
    if phase.name == "head":
        for parameter in head.parameters():
            parameter.requires_grad_(True)
        head.train()
    elif depth is not None and first > 0:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(depth.of_parameter(name) >= first)
        for name, module in network.named_modules():
            inside = (place for other, place in depth.order.items() if _is_in(other, name))
            module.training = max(inside) >= first


def _still(module: nn.Module) -> None:
    # Dropout goes on: gradients pass through the frozen layers of LoRA, and only their
    # statistics must stay.
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.eval()


def _is_in(name: str, container: str) -> bool:
    return name == container or not container or name.startswith(f"{container}.")


def build_optimizer(
    trained: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    kind: Optimizer = "adamw",
    scales: Mapping[Tensor, float] | None = None,
) -> torch.optim.Optimizer:
    """An optimiser over every parameter that trains; biases and normalisation weights do not decay.

    AdamW: Loshchilov and Hutter 2019, arXiv:1711.05101. Adam: Kingma and Ba 2015, arXiv:1412.6980.

    Args:
        trained: Whose parameters with `requires_grad` are held.
        learning_rate: Until a schedule says another.
        weight_decay: Of parameters with two dimensions or more.
        kind: ``"sgd"`` has a momentum of 0.9.
        scales: What the rate of a parameter is multiplied by: 1 where it has none.

    Returns:
        An optimiser whose groups have their ``scale``.

    Example:
        >>> optimizer = build_optimizer(nn.Linear(2, 3), learning_rate=1e-3, weight_decay=0.1)
        >>> [(group["weight_decay"], group["scale"]) for group in optimizer.param_groups]
        [(0.1, 1.0), (0.0, 1.0)]
    """
    held = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    scale_of = {id(tensor): scale for tensor, scale in (scales or {}).items()}
    groups: list[dict[str, Any]] = []
    for scale in sorted({scale_of.get(id(each), 1.0) for each in held}, reverse=True):
        mine = [each for each in held if scale_of.get(id(each), 1.0) == scale]
        for decay, some in (
            (weight_decay, [each for each in mine if each.ndim > 1]),
            (0.0, [each for each in mine if each.ndim <= 1]),
        ):
            groups.append({"params": some, "weight_decay": decay, "scale": scale})
    # Not fused=True: that kernel walks memory and answers wrongly, without a word, when a
    # gradient or a restored state lies in another memory layout than its parameter.
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=_MOMENTUM, foreach=True)
    made = torch.optim.AdamW if kind == "adamw" else torch.optim.Adam
    return made(groups, lr=learning_rate, foreach=True)


@contextmanager
def headless(network: nn.Module, layer: str) -> Iterator[nn.Module]:
    """Inside the block the network gives what its head would take.

    Args:
        network: Its last operation is the linear layer `layer`.
        layer: The head's dotted name.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> with headless(network, "1") as body:
        ...     body(torch.ones(3, 2, 2)).shape
        torch.Size([3, 4])
    """
    parent, _, leaf = layer.rpartition(".")
    owner = network.get_submodule(parent)
    head = getattr(owner, leaf)
    setattr(owner, leaf, nn.Identity())
    try:
        yield network
    finally:
        setattr(owner, leaf, head)
