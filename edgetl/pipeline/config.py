"""The release config: one TOML file, read strictly into frozen values.

An unknown key, a wrong type, NaN, a missing section: each is one ConfigError that says where.
"""

from __future__ import annotations

import os
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal

from edgetl.errors import ConfigError
from edgetl.extras import extra
from edgetl.gate.policy import Policy
from edgetl.gate.toml_table import build, read_toml
from edgetl.pipeline.candidates import CANDIDATES
from edgetl.reference.architectures import check_architecture
from edgetl.spec import IMAGENET_MEAN, IMAGENET_STD, ClassifierInput, ImageInput, TensorInput
from edgetl.train.config import Augment, FinetuneConfig

with extra("gate"):
    from pydantic import ConfigDict, Field, StringConstraints
    from pydantic.dataclasses import dataclass

SCHEMA = "edgetl.config/1"
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
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
Texts = Annotated[tuple[str, ...], Field(strict=False)]
Triple = Annotated[tuple[float, float, float], Field(strict=False)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DataConfig:
    """Where the labelled data comes from, and how many images each split takes.

    `train` and `test` may be left out: all that remain, and all of the source's own test part
    (a source without one needs `test`).
    """

    source: str
    val: Count
    calib: Count
    train: Count | None = None
    test: Count | None = None
    seed: Seed = 0
    classes: Texts | None = None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class InputConfig:
    """What the classifier takes: an image of height × width, or a tensor of `shape`."""

    kind: Literal["image", "tensor"] = "image"
    height: Count | None = None
    width: Count | None = None
    resize_shorter: Count | None = None
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    shape: Annotated[tuple[Count, ...], Field(strict=False)] | None = None

    def spec(self) -> ClassifierInput:
        """The input as the rooms know it.

        Raises:
            ConfigError: When the keys of the chosen kind are missing.
        """
        if self.kind == "tensor":
            if not self.shape:
                raise _missing("[input] shape", "a tensor input", "shape = [64]")
            return TensorInput(shape=self.shape)
        if self.height is None or self.width is None:
            raise _missing("[input] height, width", "an image input", "height = 96 and width = 96")
        return ImageInput(
            height=self.height,
            width=self.width,
            resize_shorter=self.resize_shorter,
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
        )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PretrainConfig:
    """How the backbone learns letters when `weights = "letters"`; the result is cached."""

    per_class: Count = 400
    epochs: Count = 6
    batch_size: Count = 64
    learning_rate: Positive = 1e-3


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FinetuneSection:
    """Architecture, starting weights and recipe.

    `augment` is "light" for images and "none" for tensors when it is left out.
    `weights` is "imagenet", "letters", "none", or the path of a safetensors file (relative to the
    config).
    """

    architecture: str
    weights: str = "imagenet"
    recipe: Literal["linear-probe", "two-stage", "full"] = "two-stage"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    epochs: Count = 10
    head_epochs: Count = 2
    batch_size: Count = 64
    learning_rate: Positive = 5e-4
    head_learning_rate: Positive = 3e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augment: Literal["none", "light", "light-flip"] | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    patience: Count = 3
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ExportSection:
    """The ONNX file's opset, and whether it also gives logits."""

    opset: Annotated[int, Field(ge=18, le=26)] = 20
    logits: bool = False
    parity_images: Count = 256


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class QuantizeSection:
    """How many training images set the INT8 ranges."""

    ptq_samples: Count = 300


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CompileSection:
    """The candidates, by id."""

    variants: Texts = tuple(CANDIDATES)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BenchSection:
    """How long and how often latency is measured; batch and threads are the policy's objective."""

    calls: Count = 40
    rounds: Annotated[int, Field(ge=2)] = 24
    max_seconds: Positive = 120.0


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class GateSection:
    """The backends that must have a variant that passes (default: all), and the policy."""

    required: Texts | None = None
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BundleSection:
    """What the golden set is made of: real validation images, synthetic ones, or none."""

    golden: Literal["real", "synthetic", "none"] = "real"
    golden_images: Annotated[int, Field(ge=1, le=256)] = 16


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ReleaseConfig:
    """A whole release: what is in the TOML file."""

    schema: Literal["edgetl.config/1"]
    name: Name
    version: Version
    data: DataConfig
    input: InputConfig
    finetune: FinetuneSection
    seed: Seed = 0
    threads: Threads | None = None
    export: ExportSection = field(default_factory=ExportSection)
    quantize: QuantizeSection = field(default_factory=QuantizeSection)
    compile: CompileSection = field(default_factory=CompileSection)
    bench: BenchSection = field(default_factory=BenchSection)
    gate: GateSection = field(default_factory=GateSection)
    bundle: BundleSection = field(default_factory=BundleSection)

    def to_json(self) -> dict[str, Any]:
        """The config with every default written in."""
        return asdict(self)

    def to_table(self) -> dict[str, Any]:
        """The config as a table that builds the same config: limits left at their default stay so.

        A limit that a user states and one that is a default differ: the first must be judged.
        """
        table = self.to_json()
        policy = self.gate.policy
        limits = {name for name in table["gate"]["policy"] if name.startswith("max_")}
        stated = {name for name in limits if policy.states(name)}
        table["gate"]["policy"] = {
            name: value
            for name, value in table["gate"]["policy"].items()
            if name not in limits - stated
        }
        return table

    @property
    def used_threads(self) -> int:
        """What every computation uses: the policy's objective, the config's own, or all cores."""
        wanted = self.gate.policy.objective.threads or self.threads
        return wanted or len(os.sched_getaffinity(0))

    @property
    def required_backends(self) -> tuple[str, ...]:
        """The backends that the verdict needs, in the order of the candidates."""
        mine = tuple(dict.fromkeys(CANDIDATES[name].backend for name in self.compile.variants))
        return mine if self.gate.required is None else self.gate.required


def load_config(path: Path) -> ReleaseConfig:
    """Read a release config.

    Args:
        path: The TOML file.

    Raises:
        ConfigError: For a syntax error (line, column), an unknown key (nearest named), a
            duplicate key, a wrong type, NaN, a file over 1 MB, or sections that
            do not fit together.
    """
    config = build(ReleaseConfig, _resolved(read_toml(path), path), str(path))
    _check_finetune(config, path)
    _check_variants(config, path)
    return config


def _check_finetune(config: ReleaseConfig, path: Path) -> None:
    """Refuse now what training would refuse after minutes."""
    section = config.finetune
    try:
        training_config(config, weights="none" if section.weights == "letters" else section.weights)
        check_architecture(section.architecture, config.input.spec())
    except ConfigError as error:
        raise ConfigError(
            f"{path}: finetune.{error.subject}",
            got=error.got,
            expected=error.expected,
            fix=error.fix,
        ) from error
    if isinstance(config.input.spec(), TensorInput):
        _check_tensor_training(section, path)
    known = ("imagenet", "letters", "none")
    if section.weights in known:
        return
    if not section.weights.endswith(".safetensors") or not Path(section.weights).is_file():
        raise ConfigError(
            f"{path}: finetune.weights",
            got=repr(section.weights)
            + ("" if not section.weights.endswith(".safetensors") else ", where no file is"),
            expected=f"{', '.join(known)}, or a .safetensors file",
            fix="correct the name; a path is relative to the config",
        )


def _check_tensor_training(section: FinetuneSection, path: Path) -> None:
    for key, value, allowed in (
        ("augment", section.augment, (None, "none")),
        ("weights", section.weights, ("none",)),
    ):
        if value not in allowed and not str(value).endswith(".safetensors"):
            raise ConfigError(
                f"{path}: finetune.{key}",
                got=repr(value),
                expected='"none" for a tensor input',
                fix="shifts, flips and pretrained pictures are for images",
            )


def training_config(config: ReleaseConfig, *, weights: str) -> FinetuneConfig:
    """What the training loop is told.

    Args:
        config: The release's config.
        weights: ``imagenet``, ``none`` or a safetensors file: what "letters" became.

    Raises:
        ConfigError: For values that do not fit one another, naming the key.
    """
    section = config.finetune
    default: Augment = "light" if isinstance(config.input.spec(), ImageInput) else "none"
    return FinetuneConfig(
        architecture=section.architecture,
        weights=weights,
        recipe=section.recipe,
        device=section.device,
        epochs=section.epochs,
        head_epochs=section.head_epochs,
        batch_size=section.batch_size,
        learning_rate=section.learning_rate,
        head_learning_rate=section.head_learning_rate,
        weight_decay=section.weight_decay,
        label_smoothing=section.label_smoothing,
        augment=section.augment or default,
        precision=section.precision,
        patience=section.patience,
        seed=config.seed,
        threads=config.used_threads,
    )


def _resolved(table: dict[str, Any], path: Path) -> dict[str, Any]:
    """Make paths relative to the config, so that the working folder does not matter."""
    data = table.get("data")
    source = data.get("source") if isinstance(data, dict) else None
    if isinstance(data, dict) and isinstance(source, str) and source.startswith("idx:"):
        folder = (path.parent / source.removeprefix("idx:")).resolve()
        table = table | {"data": data | {"source": f"idx:{folder}"}}
    section = table.get("finetune")
    weights = section.get("weights") if isinstance(section, dict) else None
    if isinstance(section, dict) and isinstance(weights, str) and weights.endswith(".safetensors"):
        return table | {"finetune": section | {"weights": str((path.parent / weights).resolve())}}
    return table


def _check_variants(config: ReleaseConfig, path: Path) -> None:
    variants = config.compile.variants
    for name in variants:
        if name not in CANDIDATES:
            raise ConfigError(
                f"{path}: [compile] variants",
                got=repr(name),
                expected="any of " + ", ".join(CANDIDATES),
                fix="correct the name or leave the key out for all",
            )
    if not variants or len(set(variants)) != len(variants):
        raise ConfigError(
            f"{path}: [compile] variants",
            got=str(list(variants)),
            expected="at least one candidate, each once",
            fix="list each candidate once",
        )
    backends = {CANDIDATES[name].backend for name in variants}
    for backend in config.required_backends:
        if backend not in backends:
            raise ConfigError(
                f"{path}: [gate] required",
                got=repr(backend),
                expected="backends that have a candidate: " + ", ".join(sorted(backends)),
                fix="add a candidate of that backend or take it off the list",
            )
    if not config.required_backends:
        raise ConfigError(
            f"{path}: [gate] required",
            got="an empty list",
            expected="at least one backend",
            fix="name one, or leave the key out for all",
        )


def _missing(key: str, what: str, example: str) -> ConfigError:
    return ConfigError(key, got="nothing", expected=what, fix=f"write {example}")
