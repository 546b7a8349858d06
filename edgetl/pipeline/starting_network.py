"""What a classifier's training started from: the source model, seen by its features."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgetl.data.store import SplitPart
from edgetl.errors import ModelError
from edgetl.reference.ending import OUTPUT, find_answer
from edgetl.reference.heads import head_of
from edgetl.reference.network import build_network
from edgetl.spec import Head, SingleInput
from edgetl.train.backbones import load_weights
from edgetl.train.config import FinetuneConfig
from edgetl.train.features import features_of
from edgetl.train.session import reproducible


class StartingNetwork:
    """The network with the weights that a classifier's training started from, and a plain head.

    Args:
        config: The training's.
        input: What the classifier takes.
        classes: The labels, in the order of the outputs.
        place: Where features are computed.
        code: The folder of a ``python:`` architecture's module.

    Raises:
        CheckpointError: From `features`, when the weights cannot be loaded.
        ModelError: From `features`, when the network has none: it does not end in a linear layer.
    """

    def __init__(
        self,
        config: FinetuneConfig,
        *,
        input: SingleInput,
        classes: tuple[str, ...],
        place: torch.device,
        code: Path | None,
    ) -> None:
        self.config, self.input, self.classes = config, input, classes
        self.place, self.code = place, code

    @cached_property
    def _network(self) -> tuple[nn.Module, str]:
        config, classes = self.config, self.classes
        with reproducible(config):
            network = build_network(
                config.architecture, len(classes), self.input, code=self.code, head=config.head
            )
            layer = head_of(
                network,
                config.architecture,
                input=self.input,
                classes=classes,
                head=config.head,
            )
            head = Head(layer=layer, classes=classes)
            load_weights(network, config.weights, config.architecture, head=head, input=self.input)
        _check_features(network, layer, self.input, classes)
        return network, layer

    def features(self, part: SplitPart) -> NDArray[np.float32]:
        """What the head would take, [n, d]."""
        network, layer = self._network
        return features_of(network, layer, self.input, part, device=self.place)


def _check_features(
    network: nn.Module, layer: str, input: SingleInput, classes: tuple[str, ...]
) -> None:
    answer = find_answer(network, input=input, head=Head(layer=layer, classes=classes))
    if layer == OUTPUT or not answer.folds:
        raise ModelError(
            f"head '{layer}'",
            got="no linear layer behind a body",
            expected="features that a linear head can be solved on",
            fix="name the last linear layer in [finetune] head",
        )
