"""Networks that are evidence: they give different answers to different digits, mostly right ones.

A network with fresh weights answers every image alike, so that any export of it agrees. Here its
head is fitted to the features that come out, which takes seconds. Networks with batch
normalisation are trained for some epochs before that: with random weights they make large
differences of small ones, from layer to layer, rounding errors too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgetl import metrics
from edgetl.calibration import fit_temperature
from edgetl.data.dataset import Dataset
from edgetl.data.preprocess import to_inputs
from edgetl.data.sources import open_dataset
from edgetl.data.store import SplitPart
from edgetl.reference.heads import find_head_layer
from edgetl.reference.network import Reference, build_network
from edgetl.spec import Array, ClassifierInput, Head
from edgetl.train.recipes import headless

_BATCH = 64
# Of the fitted head, so that it does not lean on features that hardly vary.
_PENALTY = 1e-2
_EPOCHS, _RATE, _WARM_UP, _ENOUGH = 8, 1e-3, 20, 0.93


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many digits each step takes; the ptq samples are from train."""

    train: int
    calib: int
    test: int
    ptq: int


@dataclass(frozen=True, kw_only=True)
class Digits:
    """The digits, shuffled once and cut into disjoint parts."""

    data: Dataset
    rows: Mapping[str, NDArray[np.int64]]

    @staticmethod
    def of(sizes: Sizes) -> Digits:
        """As many digits as the sizes say."""
        data = open_dataset("builtin:digits")
        order = np.random.default_rng(0).permutation(len(data.labels))
        ends = np.cumsum([sizes.train, sizes.calib, sizes.test])
        train, calib, test, _ = np.split(order, ends)
        rows = {"train": train, "calib": calib, "test": test, "ptq": train[: sizes.ptq]}
        return Digits(data=data, rows=rows)

    def inputs(self, part: str, input: ClassifierInput) -> dict[str, Array]:
        """A part as a model takes it."""
        return to_inputs(self.data.images[self.rows[part]], input)

    def split(self, part: str) -> SplitPart:
        """A part as training takes it."""
        rows = self.rows[part]
        ids = tuple(self.data.ids[row] for row in rows)
        return SplitPart(ids=ids, labels=self.data.labels[rows], images=self.data.images[rows])


def make_network(
    architecture: str, digits: Digits, input: ClassifierInput, *, threads: int
) -> tuple[nn.Module, Head]:
    """A network of an architecture, in eval mode, and its head with its temperature fitted."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    classes = digits.data.classes
    network = build_network(architecture, len(classes), input).eval()
    layer = find_head_layer(network, input, classes)
    if norms_of(network):
        train(network, input, digits)
    fit_head(network, layer, input, digits)
    head = Head(layer=layer, classes=classes)
    reference = Reference.of(network, input, head)
    raw = in_batches(lambda *x: reference(*x)[1], digits.inputs("calib", input)).numpy()
    temperature = fit_temperature(raw, digits.split("calib").labels)
    return network.eval(), Head(layer=layer, classes=classes, temperature=temperature)


def norms_of(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The layers whose statistics depend on the images that they have seen."""
    kind = nn.modules.batchnorm._BatchNorm
    return [module for module in network.modules() if isinstance(module, kind)]


def train(network: nn.Module, input: ClassifierInput, digits: Digits) -> None:
    """A few epochs of AdamW, until most of the calib part is right."""
    reference = Reference(network, input)
    batches = {name: torch.from_numpy(all) for name, all in digits.inputs("train", input).items()}
    labels = torch.from_numpy(digits.split("train").labels)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE)
    step = 0
    for _ in range(_EPOCHS):
        reference.train()
        for rows in torch.randperm(len(labels)).split(_BATCH // 2):
            step += 1
            optimizer.param_groups[0]["lr"] = _RATE * min(1.0, step / _WARM_UP)
            raw = reference(*(batch[rows] for batch in batches.values()))[1]
            optimizer.zero_grad()
            nn.functional.cross_entropy(raw, labels[rows]).backward()
            optimizer.step()
        settle(network, input, digits.inputs("train", input))
        answers = in_batches(lambda *x: reference(*x)[0], digits.inputs("calib", input)).numpy()
        if metrics.top1(answers, digits.split("calib").labels) >= _ENOUGH:
            break


def settle(network: nn.Module, input: ClassifierInput, inputs: Mapping[str, Array]) -> None:
    """Set the running statistics of batch normalisation to their plain mean over real images."""
    network.eval()
    for norm in norms_of(network):
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    in_batches(lambda *x: Reference(network, input)(*x)[1], inputs)
    network.eval()


def fit_head(network: nn.Module, layer: str, input: ClassifierInput, digits: Digits) -> None:
    """Logistic regression on the standardised features that enter the head, folded into it."""
    with headless(network, layer) as body:
        reference = Reference(body, input)
        features = in_batches(lambda *x: reference(*x)[1], digits.inputs("train", input)).double()
    target = torch.from_numpy(digits.split("train").labels)
    mean, scale = features.mean(0), features.std(0).clamp_min(1e-6)
    weight, bias = _regressed((features - mean) / scale, target, len(digits.data.classes))
    head = network.get_submodule(layer)
    assert isinstance(head, nn.Conv2d | nn.Linear) and head.bias is not None
    with torch.no_grad():
        folded = weight / scale
        head.weight.copy_(folded.reshape(head.weight.shape))
        head.bias.copy_(bias - folded @ mean)
        if isinstance(head, nn.Conv2d):
            # A ReLU follows. The same number more for every class changes no probability, and
            # lets it pass what the classifier was fitted without.
            head.bias += 4 * (features @ folded.T).std()


def _regressed(
    features: torch.Tensor, target: torch.Tensor, classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and biases, float64, of the least penalised cross-entropy."""
    weight = torch.zeros(classes, features.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        fit = nn.functional.cross_entropy(features @ weight.T + bias, target)
        total = fit + _PENALTY * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


def in_batches(answer: Callable[..., torch.Tensor], inputs: Mapping[str, Array]) -> torch.Tensor:
    """A function's answers to all of the inputs, batch by batch."""
    count = len(next(iter(inputs.values())))
    parts = []
    with torch.no_grad():
        for start in range(0, count, _BATCH):
            rows = slice(start, start + _BATCH)
            parts.append(answer(*(torch.from_numpy(batch[rows]) for batch in inputs.values())))
    return torch.cat(parts)
