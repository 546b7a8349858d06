"""The module that is exported: preprocessing, network and softmax head in one graph.

image uint8 NHWC → Cast → transpose → scale and normalise → network → last linear layer with W/T
and b/T → softmax in FP32 → ``probabilities``. A tensor input enters the network as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import torch
from torch import nn

from edgetl.errors import ModelError
from edgetl.spec import ClassifierInput, Head, ImageInput, SingleInput, named_parts


class Ending(StrEnum):
    """What a network does after its last linear layer."""

    LOGITS = "logits"
    SOFTMAX = "softmax"
    LOG_SOFTMAX = "log-softmax"


class ClassifierGraph(nn.Module):
    """A network between its preprocessing and a softmax head with the temperature folded in.

    The answer is taken where the head's linear layer gives it: a softmax or log-softmax that the
    network has of its own is left out, so that there is exactly one. The network is copied and
    stays as it was.

    Args:
        network: Float NCHW images, or the tensor input, to [batch, classes].
        input: What the graph takes.
        head: The linear layer's dotted name in `network`, the classes, the temperature.
        logits: Also answer the logits (after division by the temperature).

    Raises:
        ModelError: When the head is not what `head` says, or is followed by something else than
            nothing, softmax or log-softmax.

    Example:
        >>> from edgetl.spec import TensorInput
        >>> head = Head(layer="", classes=("a", "b"))
        >>> graph = ClassifierGraph(nn.Linear(4, 2), input=TensorInput(shape=(4,)), head=head)
        >>> graph(torch.zeros(3, 4)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self, network: nn.Module, *, input: ClassifierInput, head: Head, logits: bool = False
    ) -> None:
        super().__init__()
        _check_temperature(head.temperature)
        self.ending = find_ending(network, input=input, head=head)
        self.network = copy.deepcopy(network).to("cpu", torch.float32).eval()
        layer = _linear_layer(self.network, head)
        _divide(layer, head.temperature)
        self.layer = head.layer
        self.preprocess = preprocessing(input)
        self.logits = logits

    def forward(self, *batches: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Probabilities [batch, classes], and the logits when they were asked for."""
        layer = self.network.get_submodule(self.layer)
        prepared = [part(batch) for part, batch in zip(self.preprocess, batches, strict=True)]
        _, linear = _answer(self.network, layer, prepared)
        probabilities = torch.softmax(linear[0], dim=-1)
        return (probabilities, linear[0]) if self.logits else probabilities


def preprocessing(input: ClassifierInput) -> nn.ModuleList:
    """What each input tensor passes on its way into the network, in the spec's order.

    Example:
        >>> (part,) = preprocessing(ImageInput(height=2, width=2))
        >>> part(torch.zeros(5, 2, 2, 3, dtype=torch.uint8)).shape
        torch.Size([5, 3, 2, 2])
    """
    return nn.ModuleList(
        _Preprocess(part) if isinstance(part, ImageInput) else nn.Identity()
        for part in named_parts(input).values()
    )


class _Preprocess(nn.Module):
    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, input: ImageInput) -> None:
        super().__init__()
        mean = np.asarray(input.mean, np.float64).reshape(1, -1, 1, 1)
        std = np.asarray(input.std, np.float64).reshape(1, -1, 1, 1)
        top = 255 if input.pixel_range == "0-1" else 1
        self.reverses = input.channels == "bgr"
        # (x / top - mean) / std as one multiplication and one addition.
        self.register_buffer("scale", torch.from_numpy((1 / (top * std)).astype(np.float32)))
        self.register_buffer("shift", torch.from_numpy((-mean / std).astype(np.float32)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # TensorRT takes a uint8 input only when a Cast is its one and first reader. Without
        # contiguous(), the strides of NHWC reach the pooling layers, whose export then gathers.
        pixels = x.to(torch.float32).permute(0, 3, 1, 2).contiguous()
        if self.reverses:
            pixels = pixels.flip(1)
        return pixels * self.scale + self.shift


def find_ending(network: nn.Module, *, input: ClassifierInput, head: Head) -> Ending:
    """What a network does after its head's linear layer, found by running it.

    Args:
        network: Float NCHW images, or the tensor input, to [batch, classes].
        input: What the graph takes.
        head: The linear layer's name and the classes.

    Raises:
        ModelError: When the named layer is not a linear layer with one output per class that is
            called once, or what follows it is not recognised.

    Example:
        >>> from edgetl.spec import TensorInput
        >>> network = nn.Sequential(nn.Linear(4, 2), nn.LogSoftmax(dim=-1))
        >>> head = Head(layer="0", classes=("a", "b"))
        >>> str(find_ending(network, input=TensorInput(shape=(4,)), head=head))
        'log-softmax'
    """
    probe = copy.deepcopy(network).to("cpu", torch.float32).eval()
    layer = _linear_layer(probe, head)
    with torch.inference_mode():
        answer, linear = _answer(probe, layer, _probe_input(input))
    _check_calls(head, linear)
    raw = linear[0]
    candidates = {
        Ending.LOGITS: raw,
        Ending.SOFTMAX: torch.softmax(raw, dim=-1),
        Ending.LOG_SOFTMAX: torch.log_softmax(raw, dim=-1),
    }
    for ending, expected in candidates.items():
        if _same(answer, expected):
            return ending
    raise ModelError(
        f"network after layer '{head.layer}'",
        got=_described(answer),
        expected="the layer's own output, its softmax or its log-softmax",
        fix="name the last linear layer in the head, and return one tensor from the network",
    )


def _same(answer: object, expected: torch.Tensor) -> bool:
    if not isinstance(answer, torch.Tensor) or answer.shape != expected.shape:
        return False
    # An ending is one operation after the linear layer: 1e-5 covers how it is rounded.
    return torch.allclose(answer.float(), expected, rtol=1e-5, atol=1e-6)


def _answer(
    network: nn.Module, layer: nn.Module, inputs: Sequence[torch.Tensor]
) -> tuple[object, list[torch.Tensor]]:
    """The network's answer, and what its head's linear layer gave on the way."""
    linear: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: linear.append(output))
    try:
        return network(*inputs), linear
    finally:
        handle.remove()


def _linear_layer(network: nn.Module, head: Head) -> nn.Linear:
    modules = dict(network.named_modules())
    layer = modules.get(head.layer)
    if isinstance(layer, nn.Linear) and layer.out_features == len(head.classes):
        return layer
    linear = [repr(name) for name, module in modules.items() if isinstance(module, nn.Linear)]
    if isinstance(layer, nn.Linear):
        got = f"{layer.out_features} outputs"
    else:
        got = "no such layer" if layer is None else type(layer).__name__
    raise ModelError(
        f"head layer '{head.layer}'",
        got=got,
        expected=f"a linear layer with one output for each of {len(head.classes)} classes",
        fix=f"name another layer; the linear layers are {', '.join(linear[-5:]) or 'none'}",
    )


def _check_calls(head: Head, linear: list[torch.Tensor]) -> None:
    if len(linear) == 1 and linear[0].ndim == 2:
        return
    shapes = ", ".join(str(tuple(output.shape)) for output in linear)
    raise ModelError(
        f"head layer '{head.layer}'",
        got=f"{len(linear)} calls ({shapes})" if linear else "no call",
        expected="one call for a batch, giving [batch, classes]",
        fix="name the network's last linear layer",
    )


def _check_temperature(temperature: float) -> None:
    if not (np.isfinite(temperature) and temperature > 0):
        raise ModelError(
            "head temperature",
            got=str(temperature),
            expected="a finite number above 0",
            fix="calibrate again",
        )


def _divide(layer: nn.Linear, temperature: float) -> None:
    # New parameters: weights tied to another layer must not change there.
    for name, parameter in list(layer.named_parameters(recurse=False)):
        divided = (parameter.detach().double() / temperature).float()
        layer.register_parameter(name, nn.Parameter(divided, requires_grad=False))


def _probe_input(input: ClassifierInput) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    drawn = [_drawn(part, generator) for part in named_parts(input).values()]
    return [part(batch) for part, batch in zip(preprocessing(input), drawn, strict=True)]


def _drawn(input: SingleInput, generator: torch.Generator) -> torch.Tensor:
    shape = [2 if size is None else size for size in input.tensor.shape]
    if isinstance(input, ImageInput):
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return torch.rand(shape, generator=generator)


def _described(answer: object) -> str:
    if isinstance(answer, torch.Tensor):
        return f"another tensor of shape {tuple(answer.shape)}"
    return f"a {type(answer).__name__}"
