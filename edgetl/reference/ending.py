"""Where a network's raw logits are: what it does after its head, found by running it.

The reference, training and the export all ask here, so that they mean the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from edgetl.errors import ModelError
from edgetl.reference.probe import ask, check_steady, not_a_tensor, probing, run_probe, watched
from edgetl.spec import ClassifierInput, Head

OUTPUT = "output"
"""In place of a head layer's name: the network's own output is the raw logits."""


_SCALES = (1.0, 10.0, 100.0)
"""Of the numbers that stand in for a head's output: a cap on logits shows only at large ones."""


# timm's differs from torch's only under TorchScript, which edgetl refuses.
_PLAIN = ("torch.nn.modules.linear.Linear", "timm.layers.linear.Linear")


class Ending(StrEnum):
    """What a network does after its raw logits."""

    LOGITS = "logits"
    SOFTMAX = "softmax"
    LOG_SOFTMAX = "log-softmax"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a network answers.

    Attributes:
        ending: What follows the raw logits.
        at_layer: The head layer gives the raw logits; otherwise the network does, behind a tail
            that passes a factor on (ReLU, average pooling), or behind no named layer at all.
        folds: The head layer is a plain linear layer that gives the raw logits in its one call:
            a temperature may divide its weights and bias.
    """

    ending: Ending
    at_layer: bool
    folds: bool


RAW = Answer(ending=Ending.LOGITS, at_layer=False, folds=False)
"""A network whose output is raw logits, and of which no more is known."""

PLAIN = Answer(ending=Ending.LOGITS, at_layer=True, folds=True)
"""A network that is a body and then a linear layer, as torchvision's are."""


def find_answer(network: nn.Module, *, input: ClassifierInput, head: Head) -> Answer:
    """How a network answers, found by running it on random samples in eval mode.

    Args:
        network: Float NCHW images, or the tensor inputs, to one tensor [batch, classes]: logits,
            their softmax or their log-softmax.
        input: What the classifier takes.
        head: The layer's name, or `OUTPUT`, and the classes.

    Raises:
        ModelError: When the network cannot take the input, answers something else, answers a
            sample otherwise among others or on another call, changes its input, has no such layer,
            or does something to the layer's output that is not recognised.

    Example:
        >>> from edgetl.spec import TensorInput
        >>> network = nn.Sequential(nn.Linear(4, 2), nn.LogSoftmax(dim=-1))
        >>> head = Head(layer="0", classes=("a", "b"))
        >>> find_answer(network, input=TensorInput(shape=(4,)), head=head).ending
        <Ending.LOG_SOFTMAX: 'log-softmax'>
    """
    classes = len(head.classes)
    layer = None if head.layer == OUTPUT else head_module(network, head.layer, classes)
    with probing(network, input) as batches:
        answer, outputs = run_probe(network, layer, batches, classes)
        check_steady(network, batches, answer, classes=classes)
        if layer is None:
            return Answer(ending=_own_ending(answer, head.layer), at_layer=False, folds=False)
        if (ending := _ending_at(network, layer, batches, outputs)) is not None:
            folds = _is_plain(layer) and outputs[0].ndim == 2
            return Answer(ending=ending, at_layer=True, folds=folds)
        if outputs and scales_answer(network, layer, batches):
            return Answer(ending=_own_ending(answer, head.layer), at_layer=False, folds=False)
    raise _unrecognised(head.layer, answer, outputs)


def find_ending(network: nn.Module, *, input: ClassifierInput, head: Head) -> Ending:
    """What a network does after its raw logits: `find_answer` of which only that is kept.

    Example:
        >>> from edgetl.spec import TensorInput
        >>> head = Head(layer=OUTPUT, classes=("a", "b"))
        >>> str(find_ending(nn.Linear(4, 2), input=TensorInput(shape=(4,)), head=head))
        'logits'
    """
    return find_answer(network, input=input, head=head).ending


def raw_logits(network: nn.Module, layer: str, answer: Answer, batches: Sequence[Tensor]) -> Tensor:
    """Run a network and give what enters its softmax, if it has one of its own.

    Args:
        network: Whatever mode it is in.
        layer: The head layer's dotted name, or `OUTPUT`.
        answer: What `find_answer` said of them.
        batches: What the network takes.

    Returns:
        float [n, classes]; of a log-softmax behind a tail the log-probabilities, which are
        logits too.

    Raises:
        ModelError: When the network gives no tensor, as some do in training mode.
    """
    if answer.ending is Ending.LOGITS or not answer.at_layer:
        given: object = network(*batches)
        if not isinstance(given, Tensor):
            raise not_a_tensor(given, " in training mode" if network.training else "")
        return given
    outputs: list[Tensor] = []
    with watched(network.get_submodule(layer), outputs):
        network(*batches)
    return outputs[0].flatten(1)


def scales_answer(network: nn.Module, layer: nn.Module, batches: Sequence[Tensor]) -> bool:
    """Whether half of a layer's output makes half of the network's logits.

    The layer's output is replaced by random numbers, so that weights of zero hide nothing.
    """
    return all(_halves(network, layer, batches, scale) for scale in _SCALES)


def _halves(network: nn.Module, layer: nn.Module, batches: Sequence[Tensor], scale: float) -> bool:
    whole, half = (
        _centred(_answer_to(network, layer, batches, part)[0]) for part in (scale, scale / 2)
    )
    if scale != 1 and not bool(torch.isfinite(whole).all()):
        return True
    if not bool((whole != 0).any()):
        return False
    return torch.allclose(half, whole / 2, rtol=1e-3, atol=1e-4 * float(whole.abs().max()))


def outputs_of(layer: nn.Module) -> int | None:
    """How many classes a layer could be the head of; None when it is no linear layer.

    A convolution of 1 x 1 is a linear layer at each place.

    Example:
        >>> outputs_of(nn.Linear(4, 3)), outputs_of(nn.Conv2d(4, 5, 1)), outputs_of(nn.ReLU())
        (3, 5, None)
    """
    if isinstance(layer, nn.Linear):
        return layer.out_features
    if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1:
        return layer.out_channels
    return None


def linear_layers(network: nn.Module) -> dict[str, int]:
    """The dotted name of each linear layer -> its number of outputs, in the network's order."""
    found = {name: outputs_of(module) for name, module in network.named_modules()}
    return {name: outputs for name, outputs in found.items() if outputs is not None}


def head_module(network: nn.Module, name: str, classes: int) -> nn.Module:
    """The linear layer of a name, with one output a class.

    Raises:
        ModelError: When there is none, with the layers that there are.
    """
    named: dict[str, nn.Module] = dict(network.named_modules(remove_duplicate=False))
    layer = named.get(name)
    outputs = None if layer is None else outputs_of(layer)
    if layer is not None and outputs == classes:
        return layer
    if outputs is not None:
        got = f"{outputs} outputs"
    else:
        got = "no such layer" if layer is None else type(layer).__name__
    known = [repr(name) for name in linear_layers(network)]
    raise ModelError(
        f"head layer '{name}'",
        got=got,
        expected=f"a linear layer with one output for each of {classes} classes",
        fix=f"name another layer; the linear layers are {', '.join(known[-5:]) or 'none'}",
    )


def _answer_to(
    network: nn.Module, layer: nn.Module, batches: Sequence[Tensor], scale: float
) -> tuple[Tensor, list[Tensor]]:
    """The network's answer when random numbers stand in for the layer's output, and these."""
    generator = torch.Generator().manual_seed(1)
    given: list[Tensor] = []

    def replace(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        given.append(scale * torch.randn(output.shape, generator=generator).to(output))
        return given[-1]

    handle = layer.register_forward_hook(replace)
    try:
        answer = ask(network, [batch.clone() for batch in batches])
    finally:
        handle.remove()
    if not isinstance(answer, Tensor):
        raise not_a_tensor(answer, " when its head gives other numbers")
    return answer, given


def _centred(answer: Tensor) -> Tensor:
    """Logits as they are; probabilities and their logarithms as logits of mean 0 in each row."""
    if _sums_to_one(answer):
        answer = answer.log()
    elif not _sums_to_one(answer.exp()):
        return answer
    return answer - answer.mean(dim=-1, keepdim=True)


def _ending_at(
    network: nn.Module, layer: nn.Module, batches: Sequence[Tensor], outputs: list[Tensor]
) -> Ending | None:
    """What comes after a layer that gives the raw logits in one call; None when none does."""
    if len(outputs) != 1 or outputs[0].ndim < 2 or outputs[0][0, 0].numel() != 1:
        return None
    # Random numbers for the layer's output: a fresh network answers nearly 0 everywhere, and
    # then many a layer seems to give its answer.
    tried = [_answer_to(network, layer, batches, scale) for scale in _SCALES]
    # A softmax written out overflows at large logits, which says nothing of where it stands.
    counted = [tried[0], *(one for one in tried[1:] if bool(torch.isfinite(one[0]).all()))]
    for ending in Ending:
        if all(_is(ending, answer, given[0].flatten(1)) for answer, given in counted):
            return ending
    return None


def _is(ending: Ending, answer: Tensor, raw: Tensor) -> bool:
    if ending is not Ending.LOGITS:
        apply = torch.softmax if ending is Ending.SOFTMAX else torch.log_softmax
        raw = apply(raw, dim=-1)
    # An ending is one operation after the layer: 1e-5 covers how it is rounded.
    return answer.shape == raw.shape and torch.allclose(answer, raw, rtol=1e-5, atol=1e-6)


def _own_ending(answer: Tensor, name: str) -> Ending:
    """What an output is of which no layer gives the raw logits."""
    if _sums_to_one(answer):
        raise ModelError(
            f"head '{name}'",
            got="probabilities (the network's output sums to 1)",
            expected="a network that gives logits, or the name of the layer before its softmax",
            fix="let the network return what enters its softmax, or write head = the name of its "
            "last linear layer",
        )
    return Ending.LOG_SOFTMAX if _sums_to_one(answer.exp()) else Ending.LOGITS


def _sums_to_one(answer: Tensor) -> bool:
    sums = answer.sum(dim=-1)
    return bool((answer >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)


def _is_plain(layer: nn.Module) -> bool:
    """Whether y = x W + b is all that a layer does: no subclass, reparametrisation or hook."""
    kind = f"{type(layer).__module__}.{type(layer).__qualname__}"
    return kind in _PLAIN and not layer._forward_pre_hooks and not layer._forward_hooks


def _unrecognised(name: str, answer: Tensor, outputs: list[Tensor]) -> ModelError:
    if not outputs:
        got, expected = "no call", "one call for a batch, giving [batch, classes]"
    else:
        got = f"another tensor of shape {tuple(answer.shape)}"
        expected = "the layer's own output, its softmax or its log-softmax"
    return ModelError(
        f"network after layer '{name}'",
        got=got,
        expected=expected,
        fix=f'name the last linear layer in head, or write head = "{OUTPUT}" to divide the '
        "network's own output by the temperature",
    )
