"""What a network's head would take, for the images of a split."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgetl.data.store import SplitPart
from edgetl.errors import ModelError
from edgetl.reference.preprocess import Preprocess
from edgetl.spec import SingleInput
from edgetl.train.evaluate import in_batches
from edgetl.train.feed import Batches
from edgetl.train.recipes import headless


def features_of(
    network: nn.Module,
    layer: str,
    input: SingleInput,
    part: SplitPart,
    *,
    device: torch.device | str = "cpu",
) -> NDArray[np.float32]:
    """The head's input for each image, computed in eval mode and in fp32.

    Args:
        network: Its last operation is `layer`. It is moved to the device, and its modes are as
            they were afterwards.
        layer: The head's dotted name.
        input: What the classifier takes.
        part: The images.
        device: Where to compute.

    Returns:
        float32 [n, d].

    Raises:
        ModelError: When the head takes no vector for an image.

    Example:
        >>> from edgetl.spec import TensorInput
        >>> network = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
        >>> images = np.zeros((3, 2, 2), np.uint8)
        >>> part = SplitPart(ids=("a", "b", "c"), labels=np.zeros(3, np.int64), images=images)
        >>> features_of(network, "2", TensorInput(shape=(4,)), part).shape
        (3, 5)
    """
    place = torch.device(device)
    preprocess = Preprocess(input).to(place)
    modes = [(module, module.training) for module in network.modules()]
    network.to(place).eval()

    def answer(inputs: Tensor) -> Tensor:
        with headless(network, layer) as body:
            return cast(Tensor, body(preprocess(inputs)))

    try:
        found = in_batches(answer, Batches.of(part, input).inputs, place)
    finally:
        for module, training in modes:
            module.training = training
    if found.ndim != 2:
        raise ModelError(
            f"head layer '{layer}'",
            got=f"an input of shape {tuple(found.shape[1:])} for an image",
            expected="a vector, which features are",
            fix="take a network whose head is a linear layer behind its pooling",
        )
    return found.numpy()
