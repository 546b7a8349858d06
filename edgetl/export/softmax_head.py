"""The module that is exported: preprocessing, network and softmax head in one graph.

image uint8 NHWC → Cast → transpose → scale and normalise → network → last linear layer with W/T
and b/T → softmax in FP32 → ``probabilities``. A tensor input enters the network as it is. Where
the last linear layer cannot take the temperature, the network's own logits are multiplied by 1/T.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from edgetl.errors import ModelError
from edgetl.reference.ending import find_answer, raw_logits
from edgetl.spec import ClassifierInput, Head, ImageInput, named_parts


class ClassifierGraph(nn.Module):
    """A network between its preprocessing and a softmax head with the temperature folded in.

    The answer is taken where the raw logits are (`edgetl.reference.ending`): a softmax or
    log-softmax that the network has of its own is left out, so that there is exactly one. The
    network is copied and stays as it was.

    Args:
        network: Float NCHW images, or the tensor inputs, to [batch, classes].
        input: What the graph takes.
        head: The linear layer's dotted name in `network`, or ``"output"``, the classes, the
            temperature.
        logits: Also answer the logits (after division by the temperature).

    Raises:
        ModelError: When the head is not what `head` says, or is followed by something that is not
            recognised.

    Example:
        >>> from edgetl.spec import TensorInput
        >>> head = Head(layer="", classes=("a", "b"))
        >>> graph = ClassifierGraph(nn.Linear(4, 2), input=TensorInput(shape=(4,)), head=head)
        >>> graph(torch.zeros(3, 4)).shape
        torch.Size([3, 2])
    """

    scale: torch.Tensor

    def __init__(
        self, network: nn.Module, *, input: ClassifierInput, head: Head, logits: bool = False
    ) -> None:
        super().__init__()
        _check_temperature(head.temperature)
        self.answer = find_answer(network, input=input, head=head)
        self.network = _copied(network)
        self.layer = head.layer
        self.preprocess = preprocessing(input)
        self.logits = logits
        if self.answer.folds:
            _divide(self.network.get_submodule(head.layer), head.temperature)
        self.register_buffer("scale", torch.tensor(1 / head.temperature, dtype=torch.float32))

    def forward(self, *batches: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Probabilities [batch, classes], and the logits when they were asked for."""
        prepared = [part(batch) for part, batch in zip(self.preprocess, batches, strict=True)]
        logits = raw_logits(self.network, self.layer, self.answer, prepared)
        if not self.answer.folds:
            logits = logits * self.scale
        probabilities = torch.softmax(logits, dim=-1)
        return (probabilities, logits) if self.logits else probabilities


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
        # TensorRT takes a uint8 input only when a Cast is its one and first reader. Without a new
        # layout, the strides of NHWC reach the pooling layers, whose export then gathers, and a
        # view that the network takes; of one channel contiguous() would give the old layout.
        pixels = x.to(torch.float32).permute(0, 3, 1, 2)
        pixels = pixels.clone(memory_format=torch.contiguous_format)
        if self.reverses:
            pixels = pixels.flip(1)
        return pixels * self.scale + self.shift


def _copied(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network).to("cpu", torch.float32).eval()
    except RuntimeError as error:
        raise ModelError(
            f"network {type(network).__name__}",
            got=str(error).split("\n")[0][:300],
            expected="a network that can be copied",
            fix="keep only parameters and buffers on modules, and put old weight_norm hooks into "
            "their weights with remove_weight_norm",
        ) from error


def _check_temperature(temperature: float) -> None:
    if not (np.isfinite(temperature) and temperature > 0):
        raise ModelError(
            "head temperature",
            got=str(temperature),
            expected="a finite number above 0",
            fix="calibrate again",
        )


def _divide(layer: nn.Module, temperature: float) -> None:
    # New parameters: weights tied to another layer must not change there.
    for name, parameter in list(layer.named_parameters(recurse=False)):
        divided = (parameter.detach().double() / temperature).float()
        layer.register_parameter(name, nn.Parameter(divided, requires_grad=False))
