"""What training minimises on the labels of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgetl.errors import DataError
from edgetl.train.class_weights import class_weights
from edgetl.train.config import FinetuneConfig


def cross_entropy(
    raw_logits: Tensor,
    labels: Tensor,
    *,
    label_smoothing: float = 0.0,
    targets: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy in nats against smoothed targets, computed in float32.

    With smoothing s and K classes the target of a label is 1 - s + s/K for it and s/K elsewhere
    (Szegedy et al. 2016, arXiv:1512.00567, section 7); a soft target t becomes (1 - s) t + s/K.
    With weights w the loss of an image is -sum_c w_c t_c log p_c.

    The mean is over the images, also with weights: PyTorch's own would divide by the sum of the
    batch's weights, and several processes or accumulated steps would then train otherwise than one.

    Args:
        raw_logits: [n, K], any float dtype.
        labels: int64 [n].
        label_smoothing: 0 up to, not including, 1.
        targets: float [n, K], rows that sum to 1, in place of the labels; None for these.
        weights: float32 [K], one a class; None for ones.

    Returns:
        A scalar, float32; NaN for logits that are NaN.

    Example:
        >>> loss = cross_entropy(torch.zeros(3, 4), torch.tensor([0, 1, 3]))
        >>> round(float(loss), 4)  # the logarithm of 4
        1.3863
    """
    # Under bf16 autocast the logits come with 8 bits of mantissa: the sums must not.
    goal = labels if targets is None else targets.float()
    if weights is None:
        return torch.nn.functional.cross_entropy(
            raw_logits.float(), goal, label_smoothing=label_smoothing
        )
    each = torch.nn.functional.cross_entropy(
        raw_logits.float(),
        goal,
        weight=weights,
        label_smoothing=label_smoothing,
        reduction="none",
    )
    return each.mean()


def focal(
    raw_logits: Tensor,
    labels: Tensor,
    *,
    gamma: float,
    label_smoothing: float = 0.0,
    targets: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean focal loss of a softmax in nats, computed in float32.

    The loss of an image is -sum_c w_c t_c (1 - p_c)^gamma log p_c: one that is answered well counts
    less (Lin et al. 2017, arXiv:1708.02002, there for one sigmoid a class; the weights are its
    alpha). Its minimum is not at the true probabilities: the network becomes less confident than
    cross-entropy makes it. gamma = 0 is `cross_entropy`.

    Args:
        raw_logits, labels, label_smoothing, targets, weights: As `cross_entropy`.
        gamma: From 0; the paper's choice is 2.

    Returns:
        A scalar, float32; NaN for logits that are NaN.

    Example:
        >>> logits = torch.tensor([[2.0, 1.0, -1.0]])  # the softmax is 0.7054, 0.2595, 0.0351
        >>> round(float(focal(logits, torch.tensor([0]), gamma=2.0)), 4)
        0.0303
    """
    log_p = torch.nn.functional.log_softmax(raw_logits.float(), dim=1)
    goal = _smooth(labels, targets, log_p.shape[1], label_smoothing)
    # 1 - p keeps its digits near p = 1 this way; the floor keeps the gradient of a power below 1
    # finite where p is 1 to the last bit.
    doubt = (-torch.expm1(log_p)).clamp_min(torch.finfo(torch.float32).tiny)
    each = -goal * doubt**gamma * log_p
    return (each if weights is None else each * weights).sum(dim=1).mean()


class DataLoss(nn.Module):
    """The loss on a batch's labels that a config asks for; made by `data_loss`.

    Attributes:
        weights: float32 [K], each class's weight; None where every image counts the same.
        shift: float32 [K], added to the raw logits in training only; None for no adjustment.
    """

    weights: Tensor | None
    shift: Tensor | None

    def __init__(
        self, config: FinetuneConfig, *, weights: Tensor | None, shift: Tensor | None
    ) -> None:
        super().__init__()
        self.gamma = config.focal_gamma if config.loss == "focal" else None
        self.label_smoothing = config.label_smoothing
        # Not part of any stored state: they follow from the labels.
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    def forward(self, raw_logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
        """The mean over a batch.

        Args:
            raw_logits: [n, K], any float dtype.
            labels: int64 [n].
            targets: float [n, K] of a mixed batch; None for the labels alone.

        Returns:
            A scalar, float32.
        """
        logits = raw_logits if self.shift is None else raw_logits.float() + self.shift
        if self.gamma is None:
            return cross_entropy(
                logits,
                labels,
                label_smoothing=self.label_smoothing,
                targets=targets,
                weights=self.weights,
            )
        return focal(
            logits,
            labels,
            gamma=self.gamma,
            label_smoothing=self.label_smoothing,
            targets=targets,
            weights=self.weights,
        )


def data_loss(config: FinetuneConfig, class_counts: Tensor) -> DataLoss:
    """The loss that a config asks for, for a training set of so many images a class.

    ``"cross-entropy"`` and ``"focal"`` are the functions of this module. ``"logit-adjusted"`` is
    cross-entropy of z_c + tau log(n_c / n), so that the plain logits z, which are what the
    classifier answers, estimate the classes as if they were equally frequent (Menon et al. 2020,
    arXiv:2007.07314, equation 10). Label smoothing and mixed targets go with each.

    Args:
        config: Its `loss`, `focal_gamma`, `logit_adjustment`, `label_smoothing` and
            `class_weights` count.
        class_counts: int64 [K], the training images of each class, on the device of the loss.

    Returns:
        A module: raw logits [n, K], labels [n] and mixed targets [n, K] or None -> a scalar.

    Raises:
        DataError: For class weights or logit adjustment with a class that has no training image.

    Example:
        >>> config = FinetuneConfig(
        ...     architecture="mlp", weights="none", recipe="full", loss="logit-adjusted"
        ... )
        >>> loss = data_loss(config, torch.tensor([90, 10]))
        >>> round(float(loss(torch.zeros(1, 2), torch.tensor([1]))), 4)  # -log 0.1
        2.3026
    """
    counts = class_counts.cpu().numpy()
    weights = class_weights(counts, config.class_weights)
    return DataLoss(
        config,
        weights=None
        if weights is None
        else torch.from_numpy(weights).to(class_counts.device, torch.float32),
        shift=_log_prior(config, class_counts),
    )


def _log_prior(config: FinetuneConfig, class_counts: Tensor) -> Tensor | None:
    """tau log(n_c / n), float32 [K]."""
    if config.loss != "logit-adjusted":
        return None
    empty = torch.nonzero(class_counts <= 0).flatten().tolist()
    if empty:
        raise DataError(
            "loss = 'logit-adjusted'",
            got=f"no training image of class {empty[0]} (counted from 0)",
            expected="an image of every class: the logarithm of its share is taken",
            fix="add images of the class, or set loss = 'cross-entropy'",
        )
    prior = class_counts.double() / class_counts.sum()
    return (config.logit_adjustment * prior.log()).float()


def _smooth(labels: Tensor, targets: Tensor | None, classes: int, label_smoothing: float) -> Tensor:
    """Targets as float32 [n, K], smoothed as PyTorch's cross-entropy smooths them."""
    plain = nn.functional.one_hot(labels, classes) if targets is None else targets
    return plain.float() * (1.0 - label_smoothing) + label_smoothing / classes
