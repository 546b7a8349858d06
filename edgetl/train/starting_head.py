"""What a head starts from: a solved regression, the class means; and its weight decay, chosen."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgetl.errors import ConfigError
from edgetl.reference.architectures import HeadKind
from edgetl.reference.head_kinds import COSINES, LAST, SCALE, set_rows, unit_rows
from edgetl.train.class_weights import class_counts, class_weights
from edgetl.train.config import FinetuneConfig
from edgetl.train.epoch import steps_of
from edgetl.train.losses import data_loss
from edgetl.train.recipes import build_optimizer
from edgetl.train.sampler import epoch_order
from edgetl.train.schedule import learning_rate_at
from edgetl.train.solve_head import (
    CrossValidated,
    Fit,
    Predictor,
    check_examples,
    choose_weight_decay,
    solve_head,
)

Features = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class HeadStart:
    """What `start_head` did.

    Attributes:
        weight_decay: Of the head phase: the config's, or the one that was chosen.
        chosen: The cross-validation; None when there was none.
        sentence: What was done, for a person; None when nothing was.
    """

    weight_decay: float
    chosen: CrossValidated | None = None
    sentence: str | None = None


class UnitRows(nn.Module):
    """A weight whose rows are exp(`log_scale`) times unit vectors: the form of a head of cosines.

    Registered as a parametrisation, so that both the directions and the one length are learnt.
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        # Its logarithm: a step changes the length by a share of itself, and it stays above 0.
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, rows: Tensor) -> Tensor:
        """float32 [classes, d] of any length to rows of one length."""
        return self.log_scale.exp() * unit_rows(rows)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Rows that give the weight, as parametrisations ask for."""
        return unit_rows(weight)


@contextmanager
def in_training_form(network: nn.Module, layer: str, kind: HeadKind) -> Iterator[None]:
    """Inside the block a head of cosines learns directions and one length; after it, it is plain.

    Other kinds train as they are. States of inside the block fit only inside the block.

    Args:
        network: Whose last linear layer is `layer`; changed in place.
        layer: The last linear layer's dotted name.
        kind: The head's.

    Example:
        >>> from edgetl.reference.network import build_network
        >>> from edgetl.spec import TensorInput
        >>> network = build_network("mlp", 2, TensorInput(shape=(4,)), head_kind="cosine")
        >>> with in_training_form(network, "head.linear", "cosine"):
        ...     type(network.head.linear).__name__
        'ParametrizedLinear'
        >>> type(network.head.linear).__name__, [p.ndim for p in network.head.parameters()]
        ('Linear', [2])
    """
    if kind not in COSINES:
        yield
        return
    linear = network.get_submodule(layer)
    weight = linear.weight
    assert isinstance(weight, Tensor)
    scale = float(torch.linalg.vector_norm(weight.detach(), dim=1).max()) or SCALE
    parametrize.register_parametrization(linear, "weight", UnitRows(scale).to(weight.device))
    try:
        yield
    finally:
        parametrize.remove_parametrizations(linear, "weight", leave_parametrized=True)


def start_head(
    head: nn.Module,
    features: Features,
    labels: Labels,
    classes: Sequence[str],
    *,
    config: FinetuneConfig,
    epochs: int,
    choose: bool = False,
) -> HeadStart:
    """Put into a head what it starts from, and choose the weight decay of its phase.

    - The recipe ``"lp-ft"`` starts at the solved regression of `solve_head` (plain cross-entropy:
      label smoothing and the focal loss are of the steps after it). The config's class weights
      count, the balanced sampler as balanced class weights; the logit-adjusted loss moves the bias
      by the logarithms of the classes' shares, which makes it the solution of that loss.
    - The head ``"prototype"`` starts at the class means (`prototypes`).
    - Any other keeps its random start.

    With `choose`, the weight decay is found by `choose_weight_decay`: among solved heads where the
    head is solved, and among heads that were trained as the head phase trains them otherwise, each
    from the same random start (of prototypes: from the means of its own folds).

    Args:
        head: The whole head, as it is stored (outside of `in_training_form`); changed in place.
        features: float32 [n, d], what the head takes, of the training images.
        labels: int64 [n].
        classes: The labels' names.
        config: The run's.
        epochs: Of the head phase.
        choose: Whether to choose the weight decay.

    Raises:
        DataError: For a class without an image (with `choose`: with one), features that are not
            finite, or a regression that has no solution.
        ConfigError: For a solved head in a head of another kind.

    Example:
        >>> config = FinetuneConfig(architecture="mlp", weights="none", recipe="lp-ft")
        >>> features, head = np.eye(4, dtype=np.float32), nn.Linear(4, 2)
        >>> start = start_head(head, features, np.array([0, 0, 1, 1]), ("a", "b"),
        ...                    config=config, epochs=1)
        >>> head(torch.from_numpy(features)).argmax(1).tolist(), start.weight_decay
        ([0, 0, 1, 1], 0.01)
    """
    solved = config.recipe == "lp-ft"
    check_examples(labels, classes)
    counting = _counting(labels, len(classes), config)
    chosen, decay, said = None, config.weight_decay, []
    if choose:
        fit = None if solved else _trained_fit(head, config, epochs)
        weighing = counting if solved else _judging(labels, len(classes), config)
        chosen = choose_weight_decay(
            features, labels, classes, seed=config.seed, class_weights=weighing, fit=fit
        )
        decay = chosen.weight_decay
        said.append(_told(chosen))
    if solved:
        weight, bias = solve_head(
            features, labels, classes, weight_decay=decay, class_weights=counting
        )
        _put(head, weight, bias - _shift(labels, len(classes), config))
        said.append(f"the head was solved to convergence with a weight decay of {decay:g}")
    elif config.head_kind == "prototype":
        set_rows(_last(head), prototypes(features, labels, len(classes)), SCALE)
        said.append("the head starts at the class means")
    return HeadStart(weight_decay=decay, chosen=chosen, sentence="; ".join(said) or None)


def prototypes(features: Features, labels: Labels, classes: int) -> Tensor:
    """The mean of each class's features, each brought to unit length before, as unit vectors.

    Snell et al. 2017 (arXiv:1703.05175) for the means; Chen et al. 2019 (arXiv:1904.04232) for
    the cosines.

    Args:
        features: float32 [n, d].
        labels: int64 [n], each class at least once.
        classes: K.

    Returns:
        float32 [K, d]; zeros for a class whose features are zeros.

    Example:
        >>> prototypes(np.array([[2.0, 0], [0, 1], [0, 9]], np.float32), np.array([0, 1, 1]), 2)
        tensor([[1., 0.],
                [0., 1.]])
    """
    unit = unit_rows(torch.from_numpy(features))
    mine = nn.functional.one_hot(torch.from_numpy(labels), classes).to(unit)
    return unit_rows(mine.T @ unit / mine.sum(0)[:, None])


def _told(chosen: CrossValidated) -> str:
    best = min(chosen.table, key=lambda row: abs(row.weight_decay - chosen.weight_decay))
    end = ", the end of what was tried" if chosen.at_end else ""
    return (
        f"weight decay {chosen.weight_decay:g}{end}, chosen in {chosen.folds} folds: held-out NLL "
        f"{best.nll:.4f} ± {best.standard_error:.4f}"
    )


def _counting(labels: Labels, classes: int, config: FinetuneConfig) -> NDArray[np.float64] | None:
    """What an image of each class counts, by weights and by how often it is drawn."""
    counts = class_counts(labels, classes)
    weights = class_weights(counts, config.class_weights)
    if config.sampler != "balanced":
        return weights
    drawn = class_weights(counts, "balanced")
    return drawn if weights is None or drawn is None else weights * drawn


def _judging(labels: Labels, classes: int, config: FinetuneConfig) -> NDArray[np.float64] | None:
    """What a held-out image of each class counts for a head that was trained by the steps' loss.

    Of the logit-adjusted loss the plain logits answer as if classes were equally frequent (Menon
    et al. 2020, arXiv:2007.07314, theorem 1): so they must be judged.
    """
    counting = _counting(labels, classes, config)
    if config.loss != "logit-adjusted":
        return counting
    even = class_weights(class_counts(labels, classes), "balanced")
    return even if counting is None or even is None else even * counting


def _shift(labels: Labels, classes: int, config: FinetuneConfig) -> Features:
    """The logit adjustment: a shift of the logits moves the unpenalised bias, and nothing else."""
    if config.loss != "logit-adjusted":
        return np.zeros(classes, np.float32)
    shift = data_loss(config, torch.from_numpy(class_counts(labels, classes))).shift
    assert shift is not None
    return shift.numpy()


def _last(head: nn.Module) -> nn.Linear:
    layer = head if isinstance(head, nn.Linear) else head.get_submodule(LAST)
    assert isinstance(layer, nn.Linear)
    return layer


def _put(head: nn.Module, weight: Features, bias: Features) -> None:
    if not isinstance(head, nn.Linear) or head.bias is None:
        raise ConfigError(
            "recipe",
            got=f"'lp-ft' with a head that is a {type(head).__name__}",
            expected="a last linear layer with a bias, which a regression can be put into",
            fix="write recipe = 'two-stage', which trains any head first",
        )
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias))


def _trained_fit(head: nn.Module, config: FinetuneConfig, epochs: int) -> Fit:
    """A fit that trains a copy of the head on features, as the head phase does."""
    # By itself in a module, so that a head that is one layer has a name too.
    start = nn.ModuleDict({"head": copy.deepcopy(head).cpu()})
    layer = "head" if isinstance(head, nn.Linear) else f"head.{LAST}"

    def fit(x: Features, y: Labels, decay: float) -> Predictor:
        trained = copy.deepcopy(start)
        if config.head_kind == "prototype":
            last = _last(trained["head"])
            set_rows(last, prototypes(x, y, last.out_features), SCALE)
        with torch.random.fork_rng(devices=[]), in_training_form(trained, layer, config.head_kind):
            _train(trained["head"], x, y, config, epochs, decay)
        return _predictor(trained["head"].eval())

    return fit


def _predictor(head: nn.Module) -> Callable[[Features], NDArray[np.float64]]:
    def predict(x: Features) -> NDArray[np.float64]:
        with torch.no_grad():
            return np.asarray(head(torch.from_numpy(x)).numpy(), np.float64)

    return predict


def _train(
    head: nn.Module, x: Features, y: Labels, config: FinetuneConfig, epochs: int, decay: float
) -> None:
    rate = config.head_learning_rate
    head.train()
    for parameter in head.parameters():
        parameter.requires_grad_(True)
    optimizer = build_optimizer(head, learning_rate=rate, weight_decay=decay, kind=config.optimizer)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    outputs = head(inputs[:1]).shape[1]
    loss = data_loss(config, torch.from_numpy(class_counts(y, outputs)))
    batches = steps_of(len(y), config)
    for epoch in range(epochs):
        order = epoch_order(y, sampler=config.sampler, seed=config.seed, epoch=epoch + 1)
        for at, batch in enumerate(np.array_split(order, batches)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(
                    epoch * batches + at, epochs * batches, rate, config.schedule
                )
            loss(head(inputs[batch]), labels[batch]).backward()
            optimizer.step()
            optimizer.zero_grad()
