"""The start and a step of a tiny network, as training gives them to terms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgetl.reference.ending import find_answer, raw_logits
from edgetl.reference.preprocess import Preprocess
from edgetl.spec import Head, TensorInput
from edgetl.train.recipes import headless
from edgetl.train.terms.base import Start, Step

CLASSES = ("a", "b", "c")
SPEC = TensorInput(shape=(6,))


def start_of(network: nn.Module, layer: str = "3", classes: tuple[str, ...] = CLASSES) -> Start:
    return Start(
        network=network,
        layer=layer,
        answer=find_answer(network, input=SPEC, head=Head(layer=layer, classes=classes)),
        preprocess=Preprocess(SPEC),
        classes=classes,
        sources=(),
        device=torch.device("cpu"),
    )


def step_of(start: Start, inputs: Tensor) -> Step:
    given = start.preprocess(inputs)
    features = None
    if start.layer != "output":
        with headless(start.network, start.layer) as body:
            features = body(given)
    return Step(
        network=start.network,
        inputs=inputs,
        labels=torch.arange(len(inputs)) % len(start.classes),
        targets=None,
        raw_logits=raw_logits(start.network, start.layer, start.answer, [given]),
        features=features,
        sources=(),
        fraction=0.0,
    )
