"""Which layer of a network is its head."""

from __future__ import annotations

from torch import nn

from edgetl.errors import ConfigError, ModelError
from edgetl.reference.architectures import HEADS, HeadKind, known_head
from edgetl.reference.ending import (
    OUTPUT,
    Answer,
    find_answer,
    linear_layers,
    outputs_of,
)
from edgetl.reference.head_kinds import LAST, known_block
from edgetl.reference.probe import check_steady, probing, run_probe
from edgetl.spec import ClassifierInput, Head

_NAMED = 8


def head_of(
    network: nn.Module,
    architecture: str,
    *,
    input: ClassifierInput,
    classes: tuple[str, ...],
    head: str | None = None,
    head_kind: HeadKind = "linear",
) -> str:
    """The last linear layer of a network: known by the architecture's name, or found and checked.

    Args:
        network: What `edgetl.reference.network.build_network` gave; it is run in eval mode.
        architecture: As `build_network` takes it.
        input: What the classifier takes.
        classes: The labels, in the order of the outputs.
        head: The user's word, as `find_head_layer` takes it. With another `head_kind` it is the
            layer that the head has replaced.
        head_kind: What the network was built with.

    Raises:
        ModelError: As `find_head_layer`.

    Example:
        >>> from edgetl.reference.network import build_network
        >>> from edgetl.spec import TensorInput
        >>> input = TensorInput(shape=(4,))
        >>> network = build_network("mlp", 2, input, head_kind="cosine")
        >>> head_of(network, "mlp", input=input, classes=("a", "b"), head_kind="cosine")
        'head.linear'
    """
    if head_kind != "linear":
        known = known_block(architecture)
        block = head if known is None else known
        return find_head_layer(
            network, input, classes, None if block is None else f"{block}.{LAST}"
        )
    if head is None and known_head(architecture) is not None:
        head = head_layer(network, architecture)
    return find_head_layer(network, input, classes, head)


def head_layer(network: nn.Module, architecture: str, head_kind: HeadKind = "linear") -> str:
    """The dotted name of the last linear layer of an architecture that is known by name.

    Raises:
        ConfigError: When the architecture is unknown, or the network is not of it.

    Example:
        >>> from edgetl.reference.network import Mlp
        >>> head_layer(Mlp(features=4, classes=2), "mlp")
        'head'
    """
    block = known_head(architecture) if head_kind == "linear" else known_block(architecture)
    if block is None:
        raise ConfigError(
            "architecture",
            got=repr(architecture),
            expected=f"one of {', '.join(HEADS)}",
            fix="choose one of them, or ask find_head_layer",
        )
    name = block if head_kind == "linear" else f"{block}.{LAST}"
    try:
        layer: nn.Module | None = network.get_submodule(name)
    except AttributeError:
        layer = None
    if layer is None or outputs_of(layer) is None:
        raise ConfigError(
            f"network {type(network).__name__}",
            got=f"no linear layer '{name}'",
            expected=f"a network of architecture '{architecture}'",
            fix="name the architecture that the network was built with",
        )
    return name


def find_head_layer(
    network: nn.Module, input: ClassifierInput, classes: tuple[str, ...], head: str | None = None
) -> str:
    """The head of a network that is not known by name, found by running it.

    It is the linear layer (or the convolution of 1 x 1) with one output a class whose output is
    the network's answer, or its softmax or log-softmax; failing that the only one whose halved
    output halves the logits.

    Args:
        network: Any mode; it is run in eval mode and put back.
        input: What the classifier takes.
        classes: The labels, in the order of the outputs.
        head: The user's word: a layer's dotted name, or ``"output"``. It is checked.

    Returns:
        The dotted name, or ``"output"`` when that was asked for.

    Raises:
        ModelError: When the network does not fit, or no layer or several could be the head: then
            the candidates are named.

    Example:
        >>> from edgetl.spec import TensorInput
        >>> network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), nn.Softmax(-1))
        >>> find_head_layer(network, TensorInput(shape=(4,)), ("a", "b"))
        '2'
    """
    if head is not None:
        find_answer(network, input=input, head=Head(layer=head, classes=classes))
        return head
    with probing(network, input) as batches:
        given, _ = run_probe(network, None, batches, len(classes))
        check_steady(network, batches, given, classes=len(classes))
    candidates = [name for name, size in linear_layers(network).items() if size == len(classes)]
    found = {
        name: answer
        for name in candidates
        if (answer := _answer(network, input, Head(layer=name, classes=classes))) is not None
    }
    last = [name for name, answer in found.items() if answer.at_layer]
    chosen = last if len(last) == 1 else list(found)
    if len(chosen) != 1:
        raise _not_found(network, len(classes), list(found) or candidates, several=bool(found))
    return chosen[0]


def _answer(network: nn.Module, input: ClassifierInput, head: Head) -> Answer | None:
    try:
        return find_answer(network, input=input, head=head)
    except ModelError:
        return None


def _not_found(
    network: nn.Module, classes: int, candidates: list[str], *, several: bool
) -> ModelError:
    layers = linear_layers(network)
    if several:
        got = f"{len(candidates)} layers that could be: {_listed(candidates, layers)}"
    else:
        named = candidates or list(layers)
        got = "none that is surely the head"
        got += f"; the linear layers are {_listed(named, layers)}" if named else ""
    return ModelError(
        f"the head of network {type(network).__name__}",
        got=got,
        expected=f"one linear layer of {classes} outputs that gives the logits",
        fix=f'write head = "NAME" with the name of the last linear layer, or head = "{OUTPUT}" to '
        "divide the network's own output by the temperature (of two heads whose mean is the "
        "answer, as distilled networks have, too)",
    )


def _listed(names: list[str], layers: dict[str, int]) -> str:
    shown = [f"'{name}' ({layers[name]} outputs)" for name in names[-_NAMED:]]
    return ", ".join(shown) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
