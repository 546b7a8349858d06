"""How deep each module of a network lies: the order in which they run, and blocks of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from edgetl.errors import ConfigError
from edgetl.reference.probe import probing
from edgetl.spec import ClassifierInput

_NAMED = 12
# Opened to see what is inside: they only hold others, one after the other.
_CONTAINERS = (nn.Sequential, nn.ModuleList)


@dataclass(frozen=True, kw_only=True)
class Depth:
    """The order of a network's modules, found by running it.

    Attributes:
        order: Each module's dotted name -> how many modules were entered before it. A module that
            is never entered has the place of the first inside it, or of what it is in.
        blocks: The name and the place of the first module of each block, from the input to the
            head: what a rate is scaled by, and what thaws together.
    """

    order: Mapping[str, int]
    blocks: tuple[tuple[str, int], ...]

    def of_module(self, name: str) -> int:
        """The place of a module that the user names.

        Raises:
            ConfigError: When there is none of that name, with the names of the blocks.
        """
        if name in self.order and name:
            return self.order[name]
        known = [block for block, _ in self.blocks]
        shown = ", ".join(known[-_NAMED:])
        raise ConfigError(
            "train_from",
            got=repr(name),
            expected=f"a module of the network; its blocks, to the head, are {shown}",
            fix="name one of them",
        )

    def of_parameter(self, name: str) -> int:
        """The place of the module that a parameter belongs to."""
        return self.order[name.rpartition(".")[0]]

    def below_head(self, name: str) -> int:
        """How many blocks lie between a parameter's block and the head; 0 for the head's own."""
        place = self.of_parameter(name)
        return sum(start > place for _, start in self.blocks[1:])


def depth_of(network: nn.Module, input: ClassifierInput, head: str) -> Depth:
    """Run a network once and see in which order its modules are entered.

    A block is a module with parameters that the network, or a plain container in it, has as a part:
    a residual or transformer block, a convolution, a linear layer. A normalisation belongs to the
    block before it. A part that has more than half of all parameters is opened too: it is the body.

    Args:
        network: Run in eval mode; left as it was.
        input: What the classifier takes.
        head: The dotted name of the whole head.

    Example:
        >>> from edgetl.reference.network import Mlp
        >>> from edgetl.spec import TensorInput
        >>> found = depth_of(Mlp(features=4, classes=2), TensorInput(shape=(4,)), "head")
        >>> [name for name, _ in found.blocks]
        ['body.1', 'body.3', 'head']
        >>> found.below_head("body.1.weight")
        2
    """
    order = _order(network, input)
    half = sum(parameter.numel() for parameter in network.parameters()) / 2
    starts: list[tuple[str, int]] = []
    for name in sorted(_parts(network, "", head, half), key=order.__getitem__):
        module = network.get_submodule(name)
        only_vectors = all(parameter.ndim <= 1 for parameter in module.parameters())
        if not (only_vectors and starts and name != head):
            starts.append((name, order[name]))
    return Depth(order=order, blocks=tuple(starts))


def _order(network: nn.Module, input: ClassifierInput) -> dict[str, int]:
    entered: dict[str, int] = {}

    def note(name: str) -> Callable[[nn.Module, Any], None]:
        def enter(_module: nn.Module, _inputs: Any) -> None:
            entered.setdefault(name, len(entered))

        return enter

    modules = dict(network.named_modules())
    handles = [module.register_forward_pre_hook(note(name)) for name, module in modules.items()]
    try:
        with probing(network, input) as batches:
            network(*batches)
    finally:
        for handle in handles:
            handle.remove()
    return {name: _place(name, entered) for name in modules}


def _place(name: str, entered: Mapping[str, int]) -> int:
    if name in entered:
        return entered[name]
    inside = [place for other, place in entered.items() if other.startswith(f"{name}.")]
    if inside:
        return min(inside)
    above = name
    while above and above not in entered:
        above = above.rpartition(".")[0]
    return entered[above]


def _parts(module: nn.Module, prefix: str, head: str, half: float) -> Iterator[str]:
    for name, child in module.named_children():
        full = f"{prefix}{name}"
        size = sum(parameter.numel() for parameter in child.parameters())
        if not size:
            continue
        opens = type(child) in _CONTAINERS or head.startswith(f"{full}.") or size > half
        if opens and full != head and any(True for _ in child.children()):
            yield from _parts(child, f"{full}.", head, half)
        else:
            yield full
