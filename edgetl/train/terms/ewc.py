"""Elastic weight consolidation: weights that mattered to the old task move less."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from edgetl.data.store import SplitPart
from edgetl.errors import CheckpointError, ConfigError, DataError
from edgetl.extras import extra
from edgetl.files import sha256_bytes
from edgetl.reference.description import ClassifierDescription
from edgetl.reference.ending import find_answer, raw_logits
from edgetl.reference.preprocess import Preprocess
from edgetl.reference.tensors import check_finite
from edgetl.spec import SeveralInputs
from edgetl.train.feed import Batches
from edgetl.train.terms.base import Start, Step, Term
from edgetl.train.terms.checks import anchored, check_weight, weights_by_name

FisherLabels = Literal["expected", "sampled", "empirical"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ewc:
    """weight/2 x the sum over parameters of F (w - w*)^2.

    Kirkpatrick et al. 2017, arXiv:1612.00796, equation 3. Where the head has grown, its first
    rows are the old ones: an anchor of fewer rows holds those.

    Attributes:
        weight: The paper's lambda, from 0. F is small where the old classifier is sure, so that
            hundreds or thousands are usual.
        anchors: w*, each parameter's name -> its value after the old task.
        fisher: F, with the same names and shapes, from 0 (`fisher_of`).

    Raises:
        ConfigError: For a weight below 0, NaN or infinite.
        CheckpointError: For anchors and Fisher values that do not belong together, NaN, or a
            value of F below 0.

    Example:
        >>> one = {"head.weight": torch.ones(2, 4)}
        >>> Ewc(weight=100.0, anchors=one, fisher=one).digest["weight"]
        100.0
    """

    weight: float
    anchors: Mapping[str, Tensor] = field(repr=False)
    fisher: Mapping[str, Tensor] = field(repr=False)

    def __post_init__(self) -> None:
        check_weight("ewc.weight", self.weight)
        check_finite(self.anchors, "anchors of EWC")
        check_finite(self.fisher, "Fisher information of EWC")
        if {name: value.shape for name, value in self.anchors.items()} != {
            name: value.shape for name, value in self.fisher.items()
        }:
            raise _misfit("other names or shapes than the anchors'", "one value for each of them")
        below = next((name for name, value in self.fisher.items() if bool((value < 0).any())), None)
        if below is not None:
            raise _misfit(f"a value below 0 in '{below}'", "mean squares of gradients")

    @property
    def digest(self) -> Mapping[str, Any]:
        """What decides the term; the tensors by their hash."""
        return {
            "term": "ewc",
            "weight": self.weight,
            "anchors": _hash(self.anchors),
            "fisher": _hash(self.fisher),
        }

    def build(self, start: Start) -> Term:
        """The term for a network with these parameters.

        Raises:
            CheckpointError: When a parameter is missing or has another shape, naming it.
        """
        parameters = weights_by_name(start.network)
        for name, anchor in self.anchors.items():
            if name not in parameters:
                raise _misfit(f"'{name}'", "parameters that the network has")
            got, want = anchor.shape, parameters[name].shape
            grown = name.startswith(f"{start.layer}.") and got[0] < want[0] and got[1:] == want[1:]
            if got != want and not grown:
                raise _misfit(
                    f"'{name}' of shape {tuple(got)}",
                    f"{tuple(want)}, or fewer rows of the head '{start.layer}'",
                )
        return _EwcTerm(self, start)


class _EwcTerm(Term):
    name = "ewc"
    in_head_phase = True

    def __init__(self, maker: Ewc, start: Start) -> None:
        super().__init__()
        self._weight = maker.weight
        self._anchors = {name: value.to(start.device) for name, value in maker.anchors.items()}
        self._fisher = {name: value.to(start.device) for name, value in maker.fisher.items()}

    def forward(self, step: Step) -> Tensor:
        total = step.raw_logits.new_zeros((), dtype=torch.float32)
        for name, parameter in anchored("ewc", step.network, self._anchors):
            anchor = self._anchors[name]
            apart = parameter[: len(anchor)] if parameter.shape != anchor.shape else parameter
            total = total + (self._fisher[name] * (apart.float() - anchor).square()).sum()
        return 0.5 * self._weight * total


def fisher_of(
    network: nn.Module,
    part: SplitPart,
    *,
    description: ClassifierDescription,
    labels: FisherLabels = "expected",
    images: int | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> dict[str, Tensor]:
    """The diagonal of a classifier's Fisher information, one value a parameter.

    F_i = E_x E_y [(d log p(y | x) / d w_i)^2], in eval mode, the mean over images. Which y is
    meant decides what F is (Kunstner, Balles and Hennig 2019, arXiv:1905.12558):

    - ``"expected"`` takes every class by the model's own probability: the Fisher information
      itself, one backward pass a class and image;
    - ``"sampled"`` draws one class an image from the model's probabilities: the same in
      expectation, one backward pass an image, for hundreds of classes;
    - ``"empirical"`` takes the true labels: not the Fisher information, but common.

    Args:
        network: On any device; it is left as it is.
        part: Images of the old task.
        description: What the network is.
        labels: As above.
        images: How many to take, the first ones; None takes all.
        seed: Of the draws of ``"sampled"``.
        device: Where to compute.

    Returns:
        Each parameter's name -> float32 of its shape, on the CPU, from 0.

    Raises:
        DataError: Without images, or when a true label is no class.
        CheckpointError: When a gradient is NaN or infinite.
        ConfigError: For other `labels`, or several inputs.

    Example:
        >>> from edgetl.spec import Head, TensorInput
        >>> description = ClassifierDescription(architecture="mlp", input=TensorInput(shape=(2,)),
        ...                                     head=Head(layer="0", classes=("a", "b")))
        >>> network = nn.Sequential(nn.Linear(2, 2))
        >>> part = SplitPart(ids=("x",), labels=np.array([0]), images=np.ones((1, 2), np.float32))
        >>> _ = nn.init.zeros_(network[0].weight), nn.init.zeros_(network[0].bias)
        >>> fisher_of(network, part, description=description)["0.bias"]  # p (1 - p)
        tensor([0.2500, 0.2500])
    """
    single = description.input
    if isinstance(single, SeveralInputs) or labels not in get_args(FisherLabels):
        raise ConfigError(
            "the Fisher information",
            got=f"labels {labels!r} of {type(single).__name__}",
            expected=f"one input, and labels among {', '.join(get_args(FisherLabels))}",
            fix="choose one of them",
        )
    chosen = part if images is None else part.first(images)
    classes = len(description.head.classes)
    _check_labels(chosen, classes)
    place = torch.device(device)
    own = copy.deepcopy(network).to(place).eval().requires_grad_(True)
    answer = find_answer(own, input=single, head=description.head)
    preprocess, layer = Preprocess(single).to(place), description.head.layer

    def log_probabilities(inputs: Tensor) -> Tensor:
        given = [preprocess(inputs)]
        return torch.log_softmax(raw_logits(own, layer, answer, given).float()[0], dim=0)

    weigh = _weigher(labels, np.random.default_rng(seed))
    return _mean_squares(own, Batches.of(chosen, single), place, log_probabilities, weigh)


Weigh = Callable[[Tensor, int], list[tuple[int, float]]]
"""From an image's log-probabilities and label to the classes that count, and how much."""


def _weigher(labels: FisherLabels, rng: np.random.Generator) -> Weigh:
    def weigh(log_p: Tensor, label: int) -> list[tuple[int, float]]:
        if labels == "empirical":
            return [(label, 1.0)]
        p = log_p.double().exp().cpu().numpy()
        if labels == "sampled":
            return [(int(rng.choice(len(p), p=p / p.sum())), 1.0)]
        return list(enumerate(p.tolist()))

    return weigh


def _mean_squares(
    network: nn.Module,
    batches: Batches,
    device: torch.device,
    log_probabilities: Callable[[Tensor], Tensor],
    weigh: Weigh,
) -> dict[str, Tensor]:
    """One image at a time: a batch's gradient is a sum, and squares of sums are no sums."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    total = [torch.zeros_like(parameter, dtype=torch.float32) for parameter in parameters]
    for row in range(len(batches.labels)):
        log_p = log_probabilities(batches.inputs[row : row + 1].to(device))
        wanted = weigh(log_p.detach(), int(batches.labels[row]))
        for index, weight in wanted:
            gradients = torch.autograd.grad(
                log_p[index], parameters, retain_graph=True, allow_unused=True
            )
            for sum_, gradient in zip(total, gradients, strict=True):
                if gradient is not None:
                    sum_.add_(gradient.float().square(), alpha=weight)
    n = len(batches.labels)
    means = {name: (sum_ / n).cpu() for name, sum_ in zip(names, total, strict=True)}
    check_finite(means, "the Fisher information")
    return means


def _check_labels(part: SplitPart, classes: int) -> None:
    low, high = (int(part.labels.min()), int(part.labels.max())) if len(part.labels) else (0, -1)
    if len(part.labels) and low >= 0 and high < classes:
        return
    raise DataError(
        "images of the old task",
        got=f"labels from {low} to {high}" if len(part.labels) else "none",
        expected=f"images of the old classifier's {classes} classes",
        fix="give the data that the old classifier was trained on",
    )


def _hash(tensors: Mapping[str, Tensor]) -> str:
    with extra("train"):
        from safetensors.torch import save
    return sha256_bytes(save({name: value.cpu().contiguous() for name, value in tensors.items()}))


def _misfit(got: str, expected: str) -> CheckpointError:
    return CheckpointError(
        "EWC",
        got=got,
        expected=expected,
        fix="take the anchors and their Fisher information from the classifier that the training "
        "starts from",
    )
