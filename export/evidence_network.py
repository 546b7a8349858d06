"""Networks that are evidence: they give different answers to different digits, mostly right ones.

A network with fresh weights answers every image alike, so that any export of it agrees. Here its
batch statistics are settled on real digits and its head is fitted to the features that come out,
which takes seconds where training takes hours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from edgetl.calibration import fit_temperature
from edgetl.data.dataset import Dataset
from edgetl.data.preprocess import to_inputs
from edgetl.data.sources import open_dataset
from edgetl.data.store import SplitPart
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.heads import find_head_layer
from edgetl.reference.network import Reference, build_network
from edgetl.spec import Array, ClassifierInput, Head
from edgetl.train.config import FinetuneConfig
from edgetl.train.loop import finetune
from edgetl.train.recipes import headless

_BATCH = 64
# Of the fitted head, so that it does not lean on features that hardly vary.
_PENALTY = 1e-2


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
    network = build_network(architecture, len(classes), input)
    settle(network, input, digits.inputs("train", input))
    layer = find_head_layer(network, input, classes)
    if isinstance(network.get_submodule(layer), nn.Linear):
        fit_head(network, layer, input, digits)
    else:
        network = probe(architecture, network, input, digits, threads)
    head = Head(layer=layer, classes=classes)
    reference = Reference.of(network, input, head)
    raw = in_batches(lambda *x: reference(*x)[1], digits.inputs("calib", input)).numpy()
    temperature = fit_temperature(raw, digits.split("calib").labels)
    return network.eval(), Head(layer=layer, classes=classes, temperature=temperature)


def settle(network: nn.Module, input: ClassifierInput, inputs: Mapping[str, Array]) -> None:
    """Set the running statistics of batch normalisation to their plain mean over real images."""
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
            module.train()
    in_batches(lambda *x: Reference(network, input)(*x)[1], inputs)
    network.eval()


def fit_head(network: nn.Module, layer: str, input: ClassifierInput, digits: Digits) -> None:
    """Logistic regression on the standardised features that enter the head, folded into it."""
    with headless(network, layer) as body:
        reference = Reference(body, input)
        features = in_batches(lambda *x: reference(*x)[1], digits.inputs("train", input)).double()
    target = torch.from_numpy(digits.split("train").labels)
    mean, scale = features.mean(0), features.std(0).clamp_min(1e-6)
    standard = (features - mean) / scale
    classes = len(digits.data.classes)
    weight = torch.zeros(classes, features.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        fit = nn.functional.cross_entropy(standard @ weight.T + bias, target)
        total = fit + _PENALTY * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    head = network.get_submodule(layer)
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        folded = weight / scale
        head.weight.copy_(folded)
        head.bias.copy_(bias - folded @ mean)


def probe(
    architecture: str, network: nn.Module, input: ClassifierInput, digits: Digits, threads: int
) -> nn.Module:
    """The same for a head that is no linear layer: edgetl's own linear probe."""
    train, calib, classes = digits.split("train"), digits.split("calib"), digits.data.classes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_file(network.state_dict(), folder / "start.safetensors")
        config = FinetuneConfig(
            architecture=architecture,
            weights=str(folder / "start.safetensors"),
            recipe="linear-probe",
            device="cpu",
            epochs=12,
            batch_size=_BATCH,
            head_learning_rate=1e-2,
            threads=threads,
        )
        finetune(config, train, calib, input=input, classes=classes, out=folder / "out")
        return load_classifier(folder / "out")[0]


def in_batches(answer: Callable[..., torch.Tensor], inputs: Mapping[str, Array]) -> torch.Tensor:
    """A function's answers to all of the inputs, batch by batch."""
    count = len(next(iter(inputs.values())))
    parts = []
    with torch.no_grad():
        for start in range(0, count, _BATCH):
            rows = slice(start, start + _BATCH)
            parts.append(answer(*(torch.from_numpy(batch[rows]) for batch in inputs.values())))
    return torch.cat(parts)
