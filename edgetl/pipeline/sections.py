"""The sections of a release config, as strict and frozen values."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from edgetl.data.splits import check_per_class
from edgetl.errors import ConfigError, SpecError
from edgetl.extras import extra
from edgetl.gate.policy import Policy
from edgetl.pipeline.candidates import USUAL
from edgetl.reference.architectures import HEAD_WIDTH, HeadKind
from edgetl.spec import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Channels,
    ClassifierInput,
    ImageInput,
    Interpolation,
    PixelRange,
    SeveralInputs,
    SingleInput,
    TensorInput,
)
from edgetl.train.config import (
    Augment,
    ClassWeights,
    Loss,
    Optimizer,
    Recipe,
    Sampler,
    Schedule,
    TrainDevice,
    TrainPrecision,
)

with extra("gate"):
    from pydantic import ConfigDict, Field, StringConstraints
    from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
# A name becomes a folder's name: nothing in it may climb out of the runs folder.
Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$"),
    Field(description="up to 64 letters, digits, '.', '_' and '-', no '/'"),
]
# As the bundle's manifest has it: one to four numbers, each with one spelling.
Version = Annotated[
    str,
    StringConstraints(pattern=r"^(0|[1-9]\d{0,8})(\.(0|[1-9]\d{0,8})){0,3}$"),
    Field(description='a text of one to four numbers, such as "1.0.0"'),
]
Seed = Annotated[int, Field(ge=0, lt=1 << 32)]
Threads = Annotated[int, Field(ge=1, le=1024)]
WATERFALL_IMAGES = 256
Texts = Annotated[tuple[str, ...], Field(strict=False)]
Numbers = Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=3)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataConfig:
    """Where the labelled data comes from, and how many images each split takes.

    `train` and `test` may be left out: all that remain, and all of the source's own test part
    (a source without one needs `test`). `per_class`, in place of `train`, takes so many training
    images of each class and leaves the others unused.
    """

    source: str
    val: Count
    calib: Count
    train: Count | None = None
    test: Count | None = None
    seed: Seed = 0
    classes: Texts | None = None
    per_class: Count | None = None

    def __post_init__(self) -> None:
        check_per_class(self.train, self.per_class)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PartConfig:
    """One input tensor: an image of height × width, or a tensor of `shape`.

    How a picture becomes an image is what `edgetl.spec.ImageInput` says.
    """

    kind: Literal["image", "tensor"] = "image"
    height: Count | None = None
    width: Count | None = None
    resize_shorter: Count | None = None
    resize_to: Annotated[tuple[Count, Count], Field(strict=False)] | None = None
    letterbox: Annotated[int, Field(ge=0, le=255)] | None = None
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    channels: Channels = "rgb"
    pixel_range: PixelRange = "0-1"
    mean: Numbers | None = None
    std: Numbers | None = None
    shape: Annotated[tuple[Count, ...], Field(strict=False)] | None = None

    def single(self, where: str = "[input]") -> SingleInput:
        """The tensor as the rooms know it.

        Raises:
            ConfigError: When the keys of the chosen kind are missing, or do not fit together.
        """
        if self.kind == "tensor":
            if not self.shape:
                raise _missing(f"{where} shape", "a tensor input", "shape = [64]")
            return TensorInput(shape=self.shape)
        if self.height is None or self.width is None:
            raise _missing(f"{where} height, width", "an image input", "height = 96 and width = 96")
        usual = self.channels == "rgb" and self.pixel_range == "0-1"
        if not usual and (self.mean is None or self.std is None):
            raise _missing(
                f"{where} mean, std",
                f"both, for channels = {self.channels!r} and pixel_range = {self.pixel_range!r}",
                "mean and std as the network was trained, such as mean = [0.5] and std = [0.5]",
            )
        try:
            return ImageInput(
                height=self.height,
                width=self.width,
                resize_shorter=self.resize_shorter,
                resize_to=self.resize_to,
                letterbox=self.letterbox,
                interpolation=self.interpolation,
                antialias=self.antialias,
                channels=self.channels,
                pixel_range=self.pixel_range,
                mean=IMAGENET_MEAN if self.mean is None else self.mean,
                std=IMAGENET_STD if self.std is None else self.std,
            )
        except SpecError as error:
            raise ConfigError(
                f"{where} {error.subject}", got=error.got, expected=error.expected, fix=error.fix
            ) from error


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InputConfig(PartConfig):
    """What the classifier takes: an image, a tensor, or several of these by name in `parts`."""

    kind: Literal["image", "tensor", "several"] = "image"  # type: ignore[assignment]
    parts: dict[Name, PartConfig] = field(default_factory=dict)

    def spec(self) -> ClassifierInput:
        """The input as the rooms know it.

        Raises:
            ConfigError: When the keys of the chosen kind are missing.
        """
        if (self.kind == "several") != bool(self.parts):
            raise ConfigError(
                "[input] parts",
                got=f"{len(self.parts)} parts with kind = {self.kind!r}",
                expected='tables [input.parts.NAME] exactly when kind = "several"',
                fix='write kind = "several" and a table for each input, or neither',
            )
        if self.kind != "several":
            return self.single()
        for name in self.parts:
            if not name.isidentifier():
                raise ConfigError(
                    f"[input.parts.{name}]",
                    got=repr(name),
                    expected="letters, digits and '_'",
                    fix="rename the part; the data must have an array of that name",
                )
        parts = {name: part.single(f"[input.parts.{name}]") for name, part in self.parts.items()}
        if len(parts) < 2:
            raise ConfigError(
                "[input] parts",
                got="one part",
                expected="at least two",
                fix='describe a single input with kind = "image" or "tensor"',
            )
        return SeveralInputs(parts=parts)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PretrainConfig:
    """How the backbone learns letters when `weights = "letters"`; the result is cached."""

    per_class: Count = 400
    epochs: Count = 6
    batch_size: Count = 64
    learning_rate: Positive = 1e-3


@dataclass(frozen=True, kw_only=True, config=STRICT)
class L2SpSection:
    """How strongly the weights are held to what they started from (L2-SP, arXiv:1802.01483)."""

    weight: Weight = 0.01
    head_weight: Weight = 0.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KeepAnswersSection:
    """How strongly the answers of the starting network, with its own head, are kept on new images
    (arXiv:1606.09282).
    """

    weight: Weight = 1.0
    temperature: Positive = 2.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DistillationSection:
    """A teacher, by the folder of its classifier.json relative to the config (arXiv:1503.02531)."""

    teacher: str
    weight: Weight = 1.0
    temperature: Positive = 2.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PreviousSection:
    """An earlier classifier whose classes must not be forgotten, by its folder.

    `ewc` holds its important weights (arXiv:1612.00796), which are found on the data of `run`, a
    finished run's folder; `lwf` keeps its answers on the new images. 0 leaves either out.
    """

    classifier: str
    run: str | None = None
    ewc: Weight = 0.0
    lwf: Weight = 0.0
    temperature: Positive = 2.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SourceSection:
    """Labelled data of another task that is trained on beside the target's.

    `data` is a source string as in [data]. "joint" adds its cross-entropy by a head of its own;
    "dann" (arXiv:1505.07818) and "coral" (arXiv:1607.01719) make its features like the target's.
    """

    data: str
    per_class: Count | None = None
    method: Literal["joint", "dann", "coral"] = "joint"
    weight: Weight = 1.0
    schedule: Literal["constant", "linear-down", "ramp"] | None = None
    batch_size: Count | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FinetuneSection:
    """Architecture, starting weights and recipe, for a classifier that edgetl trains.

    `architecture` is a name of edgetl's own, ``timm:NAME`` or ``python:MODULE:FACTORY`` (a
    function of a module in the folder `code`); `head` names the last linear layer of the latter
    two, and is found when there is only one that it can be. `augment` is "light" for images and
    "none" for tensors when it is left out. `weights` is "imagenet", "pretrained" (timm's own),
    "letters", "none", "factory" (the network comes with them), or the path of a safetensors file
    (relative to the config). `suspicious_labels` lists training images whose labels look wrong.
    The other keys are those of `edgetl.train.config.FinetuneConfig`; each table that is there adds
    terms to the loss.
    """

    architecture: str
    head: str | None = None
    weights: str = "imagenet"
    recipe: Recipe = "two-stage"
    device: TrainDevice = "auto"
    epochs: Count = 10
    head_epochs: Count = 2
    batch_size: Count = 64
    learning_rate: Positive = 5e-4
    head_learning_rate: Positive = 3e-3
    weight_decay: Weight = 0.01
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augment: Augment | None = None
    precision: TrainPrecision = "fp32"
    patience: Count = 3
    optimizer: Optimizer = "adamw"
    schedule: Schedule = "cosine"
    train_from: str | None = None
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    accumulate: Count = 1
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    loss: Loss = "cross-entropy"
    focal_gamma: Weight = 2.0
    logit_adjustment: Weight = 1.0
    class_weights: ClassWeights = "none"
    sampler: Sampler = "shuffle"
    mixup: Weight = 0.0
    cutmix: Weight = 0.0
    head_kind: HeadKind = "linear"
    head_width: Count = HEAD_WIDTH
    choose_weight_decay: bool = False
    lora_rank: Count = 8
    lora_alpha: Positive = 16.0
    lora_layers: Texts | None = None
    suspicious_labels: bool = True
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    l2_sp: L2SpSection | None = None
    keep_answers: KeepAnswersSection | None = None
    distillation: DistillationSection | None = None
    previous: PreviousSection | None = None
    source: SourceSection | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelSection:
    """A classifier that is trained already: a PyTorch network with its weights, or an ONNX file.

    `architecture` is ``python:MODULE:FACTORY`` (a function of a module beside the config that
    returns the network), ``timm:NAME``, or a torchvision name. `weights` is a safetensors file, a
    state dict (.pt, .pth; `weights_entry` names the entry that holds it, `weights_prefix` is
    taken off its keys), or ``factory``: the network comes with its weights. `head` is the last
    linear layer; it is found when there is only one that it can be, and ``output`` puts the
    temperature behind the network. `onnx` stands in place of all these, with `output` when the
    file alone does not say what it answers. `transform`, ``python:MODULE:NAME``, is the transform
    that the network was trained with; the export checks edgetl's pixels against it.
    """

    architecture: str | None = None
    weights: str | None = None
    weights_entry: str | None = None
    weights_prefix: str = ""
    head: str | None = None
    onnx: str | None = None
    output: Literal["logits", "probabilities"] | None = None
    transform: str | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExportSection:
    """The ONNX file's opset, whether it also gives logits, and the limits of its checks.

    `max_pixel_difference` (of 0..255) and `max_probability_difference` bound how far edgetl's
    preprocessing may be from the model's own `transform`.
    """

    opset: Annotated[int, Field(ge=18, le=26)] = 20
    logits: bool = False
    parity_images: Count = 256
    max_pixel_difference: Annotated[float, Field(ge=0)] = 4.0
    max_probability_difference: Annotated[float, Field(ge=0)] = 0.01


@dataclass(frozen=True, kw_only=True, config=STRICT)
class QuantizeSection:
    """How many training images set the INT8 ranges."""

    ptq_samples: Count = 300


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CompileSection:
    """The candidates, by id, and the OpenVINO device that theirs are for."""

    variants: Texts = USUAL
    openvino_device: str = "CPU"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BenchSection:
    """How long and how often latency is measured; batch and threads are the policy's objective."""

    calls: Count = 40
    rounds: Annotated[int, Field(ge=2)] = 24
    max_seconds: Positive = 120.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GateSection:
    """The backends that must have a variant that passes (default: all), and the policy."""

    required: Texts | None = None
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReportSection:
    """How long the report may look for what each flip was seen by (occlusion maps), and of how
    many val inputs the waterfall compares the answers (all of them when there are fewer). 0 leaves
    either out.
    """

    occlusion_seconds: Annotated[float, Field(ge=0)] = 30.0
    waterfall_images: Annotated[int, Field(ge=0)] = WATERFALL_IMAGES


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BundleSection:
    """What the golden set is made of: real validation images, synthetic ones, or none."""

    golden: Literal["real", "synthetic", "none"] = "real"
    golden_images: Annotated[int, Field(ge=1, le=256)] = 16


def _missing(key: str, what: str, example: str) -> ConfigError:
    return ConfigError(key, got="nothing", expected=what, fix=f"write {example}")
