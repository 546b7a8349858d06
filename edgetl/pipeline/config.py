"""The release config: one TOML file, read strictly into frozen values.

An unknown key, a wrong type, NaN, a missing section: each is one ConfigError that says where.
"""

from __future__ import annotations

from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal

from edgetl.errors import ConfigError
from edgetl.extras import extra
from edgetl.gate.policy import Policy
from edgetl.gate.toml_table import build, read_toml
from edgetl.pipeline.candidates import CANDIDATES
from edgetl.spec import IMAGENET_MEAN, IMAGENET_STD, ClassifierInput, ImageInput, TensorInput

with extra("gate"):
    from pydantic import ConfigDict, Field, StringConstraints
    from pydantic.dataclasses import dataclass

SCHEMA = "edgetl.config/1"
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
# A name becomes a folder's name: nothing in it may climb out of the runs folder.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
# As the bundle's manifest has it: one to four numbers, each with one spelling.
Version = Annotated[str, StringConstraints(pattern=r"^(0|[1-9]\d{0,8})(\.(0|[1-9]\d{0,8})){0,3}$")]
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
    seed: int = 0
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

    opset: Annotated[int, Field(ge=18)] = 20
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
    seed: int = 0
    threads: Count | None = None
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
    config.input.spec()
    _check_variants(config, path)
    return config


def _resolved(table: dict[str, Any], path: Path) -> dict[str, Any]:
    """Make the weights' path relative to the config, so that the working folder does not matter."""
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
