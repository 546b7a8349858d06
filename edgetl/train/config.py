"""What can be set about fine-tuning."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, get_args

from edgetl.errors import ConfigError
from edgetl.reference.architectures import HEAD_WIDTH, HeadKind

Recipe = Literal["linear-probe", "two-stage", "gradual", "full", "lp-ft", "lora"]
Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["cosine", "linear", "constant", "step"]
Augment = Literal["none", "light", "light-flip", "crop-flip", "trivial", "rand"]
TrainPrecision = Literal["fp32", "bf16", "fp16"]
TrainDevice = Literal["auto", "cpu", "cuda"]
Loss = Literal["cross-entropy", "focal", "logit-adjusted"]
ClassWeights = Literal["none", "balanced", "effective"]
Sampler = Literal["shuffle", "balanced"]

_CHOICES = MappingProxyType(
    {
        "recipe": get_args(Recipe),
        "device": get_args(TrainDevice),
        "augment": get_args(Augment),
        "precision": get_args(TrainPrecision),
        "optimizer": get_args(Optimizer),
        "schedule": get_args(Schedule),
        "loss": get_args(Loss),
        "class_weights": get_args(ClassWeights),
        "sampler": get_args(Sampler),
        "head_kind": get_args(HeadKind),
    }
)
# Fields that came after the first release of the run digest, each left out of it at its default,
# so that the digests of runs that do not use it stay what they were.
_LATER = (
    *("head", "optimizer", "schedule", "train_from", "layer_decay", "accumulate", "ema"),
    *("loss", "focal_gamma", "logit_adjustment", "class_weights", "sampler", "mixup", "cutmix"),
    *("head_kind", "head_width", "choose_weight_decay", "lora_rank", "lora_alpha", "lora_layers"),
)
# A setting -> the setting that it says more about, and the values of that with which it counts.
_BELONGS_TO = MappingProxyType(
    {
        "focal_gamma": ("loss", ("focal",)),
        "logit_adjustment": ("loss", ("logit-adjusted",)),
        "head_width": ("head_kind", ("mlp",)),
        "lora_rank": ("recipe", ("lora",)),
        "lora_alpha": ("recipe", ("lora",)),
        "lora_layers": ("recipe", ("lora",)),
        "choose_weight_decay": ("recipe", ("linear-probe", "two-stage", "gradual", "lp-ft")),
        "train_from": ("recipe", ("two-stage", "gradual", "full", "lp-ft")),
        "layer_decay": ("recipe", ("two-stage", "gradual", "full", "lp-ft")),
    }
)


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
            ``"gradual"`` likewise, but thaws one block after the other from the head down (Howard
            and Ruder 2018, arXiv:1801.06146); ``"full"`` trains all parameters from the start;
            ``"lp-ft"`` solves the head to convergence on frozen features, then trains all
            (Kumar et al. 2022, arXiv:2202.10054); ``"lora"`` trains the head and low-rank
            additions to linear layers, merged into them afterwards (arXiv:2106.09685).
        head: The last linear layer's dotted name; None finds it. ``"output"`` names none, which
            only ``"full"`` can train.
        device: ``"auto"`` takes CUDA when there is one and the CPU otherwise; ``"cpu"`` and
            ``"cuda"`` are used or refused, never replaced.
        epochs: Of the last (or only) phase, at most.
        head_epochs: Of the head phase of ``"two-stage"``.
        batch_size: Images a step, over all devices together.
        learning_rate: The peak rate where all parameters train.
        head_learning_rate: The peak rate where only the head trains.
        weight_decay: Of weight matrices only: decoupled in AdamW, added to the gradient in the
            other two; of the solved head of ``"lp-ft"``, its L2 penalty.
        optimizer: ``"sgd"`` has a momentum of 0.9.
        schedule: What follows the warm-up: `edgetl.train.schedule.learning_rate_at`.
        train_from: A module's dotted name: in the last phase it and what runs after it train,
            what runs before stays frozen, batch statistics too. None: everything trains.
        layer_decay: The rate is multiplied by it once for each block below the head, in phases
            that train more than the head; above 0, up to 1.
        accumulate: Batches whose gradients make one step together.
        ema: Decay of the average of the weights that is validated and kept in place of the
            weights themselves, above 0 and below 1; None keeps no average.
        label_smoothing: 0 up to, not including, 1.
        loss: `edgetl.train.losses.data_loss` says what each is.
        focal_gamma: Of the focal loss, from 0.
        logit_adjustment: The temperature tau of the logit-adjusted loss, from 0.
        class_weights: How rarer classes count more in the loss.
        sampler: ``"balanced"`` draws every class equally often.
        mixup, cutmix: Alpha of the Beta distribution of the mixing share; 0 mixes nothing.
        augment: ``"light"`` shifts images by up to a twelfth of a side; ``"light-flip"`` also
            mirrors half of them, which letters and digits do not bear; ``"crop-flip"`` cuts out
            and resizes a part and mirrors half; ``"trivial"`` is TrivialAugment, ``"rand"``
            RandAugment.
        precision: ``"bf16"`` computes the network's training steps under autocast, ``"fp16"``
            with a scaled loss as well, on CUDA alone; validation stays in fp32, as the reference
            is.
        head_kind: What the network ends in: `edgetl.reference.network.build_network`.
        head_width: Hidden units of the head ``"mlp"``.
        choose_weight_decay: Whether the weight decay of the head phase is chosen by
            cross-validation on the training images' features.
        lora_rank, lora_alpha: Of the additions: their rank, and the scale (over the rank) that
            they are added with.
        lora_layers: Names, or endings of names, of the linear layers that get one; None: those
            of the attention and the multilayer perceptrons.
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
    optimizer: Optimizer = "adamw"
    schedule: Schedule = "cosine"
    train_from: str | None = None
    layer_decay: float = 1.0
    accumulate: int = 1
    ema: float | None = None
    loss: Loss = "cross-entropy"
    focal_gamma: float = 2.0
    logit_adjustment: float = 1.0
    class_weights: ClassWeights = "none"
    sampler: Sampler = "shuffle"
    mixup: float = 0.0
    cutmix: float = 0.0
    head_kind: HeadKind = "linear"
    head_width: int = HEAD_WIDTH
    choose_weight_decay: bool = False
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_layers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            self._choice(name, getattr(self, name), choices)
        for name in (
            "epochs",
            "head_epochs",
            "batch_size",
            "accumulate",
            "head_width",
            "lora_rank",
        ):
            self._at_least(name, getattr(self, name), 1)
        for name in ("patience", "threads"):
            if getattr(self, name) is not None:
                self._at_least(name, getattr(self, name), 1)
        self._at_least("seed", self.seed, 0)
        self._choice("choose_weight_decay", self.choose_weight_decay, (False, True))
        for name in ("learning_rate", "head_learning_rate", "lora_alpha"):
            self._number(name, low=0.0, open_low=True)
        for name in ("weight_decay", "focal_gamma", "logit_adjustment", "mixup", "cutmix"):
            self._number(name, low=0.0)
        self._number("label_smoothing", low=0.0, below=1.0)
        self._number("layer_decay", low=0.0, open_low=True, most=1.0)
        if self.ema is not None:
            self._number("ema", low=0.0, open_low=True, below=1.0)
        self._names()
        self._fits_together()

    def _names(self) -> None:
        for name, several in (("lora_layers", True), ("train_from", False)):
            value: object = getattr(self, name)
            given = value if several else (value,)
            right = isinstance(given, tuple) and given and all(map(_is_name, given))
            if value is not None and not right:
                raise ConfigError(
                    name,
                    got=repr(value),
                    expected="names of linear layers" if several else "the name of a module",
                    fix="name at least one, such as layer4 of a ResNet, or leave it out",
                )

    def _fits_together(self) -> None:
        if self.recipe == "two-stage" and not self.learning_rate < self.head_learning_rate:
            raise ConfigError(
                "learning_rate",
                got=f"{self.learning_rate}, with a head_learning_rate of {self.head_learning_rate}",
                expected="a lower rate for the second stage of 'two-stage'",
                fix="lower learning_rate, or raise head_learning_rate",
            )
        if self.precision == "fp16" and self.device == "cpu":
            raise ConfigError(
                "precision",
                got="'fp16' with device = 'cpu'",
                expected="'fp32' or 'bf16' on the CPU",
                fix="write precision = 'bf16', or train on CUDA",
            )
        defaults = {field.name: field.default for field in fields(self)}
        for name, (owner, values) in _BELONGS_TO.items():
            if getattr(self, name) != defaults[name] and getattr(self, owner) not in values:
                raise ConfigError(
                    name,
                    got=f"{getattr(self, name)!r} with {owner} = {getattr(self, owner)!r}",
                    expected=f"{owner} = {' or '.join(map(repr, values))}",
                    fix=f"remove {name}, or change {owner}",
                )
        self._balances_once()
        if self.recipe == "lp-ft" and self.head_kind != "linear":
            raise ConfigError(
                "head_kind",
                got=f"{self.head_kind!r} with recipe = 'lp-ft'",
                expected="'linear': the solved head is a multinomial logistic regression",
                fix="write recipe = 'two-stage', which trains any head first",
            )

    def _balances_once(self) -> None:
        """Rare classes are made up for in one way: two would correct the imbalance twice."""
        chosen = {
            "loss": self.loss == "logit-adjusted",
            "class_weights": self.class_weights != "none",
            "sampler": self.sampler == "balanced",
        }
        ways = [f"{name} = {getattr(self, name)!r}" for name, used in chosen.items() if used]
        if len(ways) > 1:
            raise ConfigError(
                next(name for name, used in chosen.items() if used),
                got=" with ".join(ways),
                expected="one of them: together they correct the imbalance more than once",
                fix="keep one and leave the others out",
            )

    @staticmethod
    def _choice(name: str, value: object, choices: tuple[object, ...]) -> None:
        if value not in choices or type(value) not in map(type, choices):
            raise ConfigError(
                name,
                got=repr(value),
                expected=f"one of {', '.join(map(str, choices))}",
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
        self,
        name: str,
        *,
        low: float,
        open_low: bool = False,
        below: float = math.inf,
        most: float = math.inf,
    ) -> None:
        value = getattr(self, name)
        usable = type(value) in (int, float) and low <= value < below and value <= most
        if not usable or (open_low and value == low):
            ends = f"{'above' if open_low else 'from'} {low:g}"
            limit = "" if below == math.inf else f", below {below:g}"
            limit += "" if most == math.inf else f", up to {most:g}"
            raise ConfigError(
                name,
                got=repr(value),
                expected=f"a finite number {ends}{limit}",
                fix="set such a number",
            )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def without_later_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Settings as plain data, less those that were added later and are at their default.

    Args:
        values: `dataclasses.asdict` of a `FinetuneConfig`, or of what has the same keys.

    Example:
        >>> without_later_defaults({"epochs": 3, "ema": None, "mixup": 0.2})
        {'epochs': 3, 'mixup': 0.2}
    """
    defaults = {field.name: field.default for field in fields(FinetuneConfig)}
    return {
        name: value
        for name, value in values.items()
        if name not in _LATER or value != defaults[name]
    }
