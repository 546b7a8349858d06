"""What can be set about fine-tuning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from edgetl.errors import ConfigError

Recipe = Literal["linear-probe", "two-stage", "full"]
Augment = Literal["none", "light", "light-flip"]
TrainPrecision = Literal["fp32", "bf16"]
TrainDevice = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """The whole of a fine-tuning run but its data. Made only when every value can be used.

    Attributes:
        architecture: A name of `edgetl.reference.architectures.ARCHITECTURES`, ``timm:NAME`` or
            ``python:MODULE:FACTORY``.
        weights: ``"imagenet"`` (torchvision's download), ``"pretrained"`` (timm's), ``"none"``,
            ``"factory"`` (what a ``python:`` factory gives its network), or the path of a
            ``.safetensors`` file.
        recipe: ``"linear-probe"`` trains the head on a frozen backbone; ``"two-stage"`` does so
            for `head_epochs`, then trains all parameters in a new optimiser at a lower rate;
            ``"full"`` trains all parameters from the start.
        head: The last linear layer's dotted name; None finds it. ``"output"`` names none, which
            only ``"full"`` can train.
        device: ``"auto"`` takes CUDA when there is one and the CPU otherwise; ``"cpu"`` and
            ``"cuda"`` are used or refused, never replaced.
        epochs: Of the last (or only) phase, at most.
        head_epochs: Of the head phase of ``"two-stage"``.
        batch_size: Images a step, over all devices together.
        learning_rate: The peak rate where all parameters train.
        head_learning_rate: The peak rate where only the head trains.
        weight_decay: AdamW's decoupled decay, of weight matrices only.
        label_smoothing: 0 up to, not including, 1.
        augment: ``"light"`` shifts images by up to a twelfth of a side; ``"light-flip"`` also
            mirrors half of them, which letters and digits do not bear.
        precision: ``"bf16"`` computes the network's training steps under autocast; validation
            stays in fp32, as the reference is.
        patience: Epochs without a lower validation NLL before a phase ends; None never ends it.
        seed: Of initial weights, order, augmentation and dropout.
        threads: What PyTorch may use on the CPU; None leaves it as it is. Another number gives
            other rounding, so a run can be repeated to the bit only with the same one.

    Raises:
        ConfigError: For a value that cannot be used, naming it.

    Example:
        >>> FinetuneConfig(architecture="mlp", weights="none", recipe="full").epochs
        10
    """

    architecture: str
    weights: str
    recipe: Recipe
    head: str | None = None
    device: TrainDevice = "auto"
    epochs: int = 10
    head_epochs: int = 3
    batch_size: int = 64
    learning_rate: float = 5e-4
    head_learning_rate: float = 3e-3
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    augment: Augment = "none"
    precision: TrainPrecision = "fp32"
    patience: int | None = None
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        self._choice("recipe", self.recipe, get_args(Recipe))
        self._choice("device", self.device, get_args(TrainDevice))
        self._choice("augment", self.augment, get_args(Augment))
        self._choice("precision", self.precision, get_args(TrainPrecision))
        for name in ("epochs", "head_epochs", "batch_size"):
            self._at_least(name, getattr(self, name), 1)
        for name in ("patience", "threads"):
            if getattr(self, name) is not None:
                self._at_least(name, getattr(self, name), 1)
        self._at_least("seed", self.seed, 0)
        for name in ("learning_rate", "head_learning_rate"):
            self._number(name, low=0.0, open_low=True)
        self._number("weight_decay", low=0.0)
        self._number("label_smoothing", low=0.0, below=1.0)
        if self.recipe == "two-stage" and not self.learning_rate < self.head_learning_rate:
            raise ConfigError(
                "learning_rate",
                got=f"{self.learning_rate}, with a head_learning_rate of {self.head_learning_rate}",
                expected="a lower rate for the second stage of 'two-stage'",
                fix="lower learning_rate, or raise head_learning_rate",
            )

    @staticmethod
    def _choice(name: str, value: object, choices: tuple[str, ...]) -> None:
        if value not in choices:
            raise ConfigError(
                name,
                got=repr(value),
                expected=f"one of {', '.join(choices)}",
                fix="choose one of them",
            )

    @staticmethod
    def _at_least(name: str, value: object, low: int) -> None:
        if type(value) is not int or value < low:
            raise ConfigError(
                name,
                got=repr(value),
                expected=f"a whole number from {low}",
                fix=f"set it to {low} or more",
            )

    def _number(
        self, name: str, *, low: float, open_low: bool = False, below: float = math.inf
    ) -> None:
        value = getattr(self, name)
        usable = type(value) in (int, float) and low <= value < below
        if not usable or (open_low and value == low):
            ends = f"{'above' if open_low else 'from'} {low:g}"
            limit = "" if below == math.inf else f", below {below:g}"
            raise ConfigError(
                name,
                got=repr(value),
                expected=f"a finite number {ends}{limit}",
                fix="set such a number",
            )
