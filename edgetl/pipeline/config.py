"""The release config: one TOML file, read strictly into frozen values.

An unknown key, a wrong type, NaN, a missing section: each is one ConfigError that says where.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import asdict, field
from pathlib import Path
from typing import Any, Literal

from edgetl.backends.openvino_device import check_device_name
from edgetl.data.sources import resolve_source
from edgetl.errors import ConfigError
from edgetl.extras import extra
from edgetl.gate.toml_table import build, read_toml
from edgetl.pipeline.candidates import CANDIDATES
from edgetl.pipeline.sections import (
    STRICT,
    BenchSection,
    BundleSection,
    CompileSection,
    DataConfig,
    ExportSection,
    FinetuneSection,
    GateSection,
    InputConfig,
    ModelSection,
    Name,
    PartConfig,
    QuantizeSection,
    ReportSection,
    Seed,
    Threads,
    Version,
)
from edgetl.reference.architectures import check_architecture
from edgetl.reference.user_code import USER_CODE, check_reference
from edgetl.spec import IMAGENET_MEAN, IMAGENET_STD, ImageInput, TensorInput
from edgetl.train.config import Augment, FinetuneConfig, without_later_defaults

with extra("gate"):
    from pydantic.dataclasses import dataclass

SCHEMA = "edgetl.config/1"
WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth")
_TERMS = ("l2_sp", "keep_answers", "distillation", "previous", "source")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReleaseConfig:
    """A whole release: what is in the TOML file.

    `code` is the folder that ``python:MODULE:NAME`` is imported from; in a file it is relative to
    it, and the file's own folder when it is left out.
    """

    schema: Literal["edgetl.config/1"]
    name: Name
    version: Version
    data: DataConfig
    input: InputConfig
    finetune: FinetuneSection | None = None
    model: ModelSection | None = None
    code: str = "."
    seed: Seed = 0
    threads: Threads | None = None
    export: ExportSection = field(default_factory=ExportSection)
    quantize: QuantizeSection = field(default_factory=QuantizeSection)
    compile: CompileSection = field(default_factory=CompileSection)
    bench: BenchSection = field(default_factory=BenchSection)
    gate: GateSection = field(default_factory=GateSection)
    bundle: BundleSection = field(default_factory=BundleSection)
    report: ReportSection = field(default_factory=ReportSection)

    def to_json(self) -> dict[str, Any]:
        """The config with every default written in, but those of keys that came later.

        Without them, the stages that an earlier edgetl made of the same file are still current.
        """
        table = asdict(self)
        if self.data.per_class is None:
            del table["data"]["per_class"]
        if self.finetune is not None:
            section = without_later_defaults(table["finetune"])
            if self.finetune.suspicious_labels:
                del section["suspicious_labels"]
            table["finetune"] = {
                "head": self.finetune.head,
                **{name: value for name, value in section.items() if name not in _TERMS or value},
            }
        return table

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
    try:
        config.input.spec()
        if (config.finetune is None) == (config.model is None):
            raise ConfigError(
                "[finetune], [model]",
                got="both" if config.finetune else "neither",
                expected="[finetune] for a network to train, or [model] for a trained one",
                fix="keep the one that is meant",
            )
        if config.finetune is not None:
            _check_finetune(config, config.finetune)
        if config.model is not None:
            _check_model(config, config.model)
        _check_variants(config)
    except ConfigError as error:
        raise ConfigError(
            f"{path}: {error.subject}", got=error.got, expected=error.expected, fix=error.fix
        ) from error
    return config


def _check_finetune(config: ReleaseConfig, section: FinetuneSection) -> None:
    """Refuse now what training would refuse after minutes."""
    try:
        training_config(config, weights="none" if section.weights == "letters" else section.weights)
        _check_network(config, section.architecture)
    except ConfigError as error:
        raise ConfigError(
            f"finetune.{error.subject}", got=error.got, expected=error.expected, fix=error.fix
        ) from error
    if isinstance(config.input.spec(), TensorInput):
        _check_tensor_training(section)
    known = ("imagenet", "pretrained", "letters", "none", "factory")
    if section.weights not in known:
        _check_file("finetune.weights", section.weights, (".safetensors",), known)


def _check_model(config: ReleaseConfig, section: ModelSection) -> None:
    if (section.architecture is None) == (section.onnx is None):
        raise ConfigError(
            "[model]",
            got="both architecture and onnx" if section.onnx else "neither architecture nor onnx",
            expected="architecture (and weights), or onnx",
            fix="keep the one that the model is",
        )
    _check_normalisation(config.input)
    if section.onnx is not None:
        _check_file("model.onnx", section.onnx, (".onnx",))
        _refuse_beside(section, "onnx", ("weights", "weights_entry", "weights_prefix", "head"))
    if section.architecture is not None:
        _check_network(config, section.architecture)
        _refuse_beside(section, "architecture", ("output",))
        if section.weights is None:
            raise ConfigError(
                "model.weights",
                got="nothing",
                expected="a .safetensors, .pt or .pth file, or 'factory'",
                fix="name the trained weights; 'factory' when the factory loads them itself",
            )
        if section.weights != "factory":
            _check_file("model.weights", section.weights, WEIGHTS_SUFFIXES, ("factory",))
    if section.transform is not None:
        check_reference("model.transform", section.transform, Path(config.code))


def _check_normalisation(section: InputConfig) -> None:
    """A network that came trained was trained with some mean and std: they are not guessed."""
    parts: dict[str, PartConfig] = dict(section.parts) or {"": section}
    for name, part in parts.items():
        if part.kind == "image" and (part.mean is None or part.std is None):
            table = f"[input.parts.{name}]" if name else "[input]"
            raise ConfigError(
                f"{table} mean, std",
                got="nothing, with [model]",
                expected="the numbers that the network was trained with",
                fix="copy them from the model's card; ImageNet's are "
                f"mean = {list(IMAGENET_MEAN)} and std = {list(IMAGENET_STD)}",
            )


def _refuse_beside(section: ModelSection, kind: str, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(section, name):
            raise ConfigError(
                f"model.{name}",
                got=f"a value beside model.{kind}",
                expected=f"nothing: it does not belong to {kind}",
                fix=f"remove {name}",
            )


def _check_network(config: ReleaseConfig, architecture: str) -> None:
    check_architecture(architecture, config.input.spec())
    if architecture.startswith(USER_CODE):
        check_reference("architecture", architecture, Path(config.code))


def _check_file(
    key: str, value: str, suffixes: tuple[str, ...], words: tuple[str, ...] = ()
) -> None:
    right = value.endswith(suffixes)
    if not right or not Path(value).is_file():
        raise ConfigError(
            key,
            got=repr(value) + (", where no file is" if right else ""),
            expected="".join(f"{word}, " for word in words)
            + ("or " if words else "")
            + f"a {' or '.join(suffixes)} file",
            fix=_nearest(value, words) or "correct the name; a path is relative to the config",
        )


def _check_tensor_training(section: FinetuneSection) -> None:
    for key, value, allowed in (
        ("augment", section.augment, (None, "none")),
        ("cutmix", section.cutmix, (0.0,)),
        ("weights", section.weights, ("factory", "none")),
    ):
        if value not in allowed and not str(value).endswith(".safetensors"):
            raise ConfigError(
                f"finetune.{key}",
                got=repr(value),
                expected=f"{allowed[-1]!r} for a tensor input",
                fix="shifts, flips, cuts and pretrained pictures are for images",
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
    if section is None:
        raise ConfigError(
            "[finetune]",
            got="a config with [model]",
            expected="a network to train",
            fix="training is for configs with [finetune]",
        )
    default: Augment = "light" if isinstance(config.input.spec(), ImageInput) else "none"
    return FinetuneConfig(
        architecture=section.architecture,
        head=section.head,
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
        optimizer=section.optimizer,
        schedule=section.schedule,
        train_from=section.train_from,
        layer_decay=section.layer_decay,
        accumulate=section.accumulate,
        ema=section.ema,
        loss=section.loss,
        focal_gamma=section.focal_gamma,
        logit_adjustment=section.logit_adjustment,
        class_weights=section.class_weights,
        sampler=section.sampler,
        mixup=section.mixup,
        cutmix=section.cutmix,
        head_kind=section.head_kind,
        head_width=section.head_width,
        choose_weight_decay=section.choose_weight_decay,
        lora_rank=section.lora_rank,
        lora_alpha=section.lora_alpha,
        lora_layers=section.lora_layers,
    )


def _resolved(table: dict[str, Any], path: Path) -> dict[str, Any]:
    """Make paths relative to the config, so that the working folder does not matter."""
    base = path.parent.resolve()
    table = table | {"code": _from(base, table.get("code", "."))}
    data = table.get("data")
    if isinstance(data, dict) and isinstance(source := data.get("source"), str):
        table["data"] = data | {"source": resolve_source(source, base)}
    for section, keys in (("finetune", ("weights",)), ("model", ("weights", "onnx"))):
        values = table.get(section)
        if not isinstance(values, dict):
            continue
        files = {
            key: _from(base, values[key])
            for key in keys
            if isinstance(values.get(key), str)
            and values[key].endswith((*WEIGHTS_SUFFIXES, ".onnx"))
        }
        table[section] = values | files
    if isinstance(finetune := table.get("finetune"), dict):
        table["finetune"] = finetune | _resolved_terms(finetune, base)
    return table


def _resolved_terms(finetune: dict[str, Any], base: Path) -> dict[str, Any]:
    """The tables inside [finetune] that name folders or data, with their paths made absolute."""
    found: dict[str, Any] = {}
    for name, keys in (("distillation", ("teacher",)), ("previous", ("classifier", "run"))):
        if isinstance(values := finetune.get(name), dict):
            found[name] = values | {key: _from(base, values[key]) for key in keys if key in values}
    source = finetune.get("source")
    if isinstance(source, dict) and isinstance(data := source.get("data"), str):
        found["source"] = source | {"data": resolve_source(data, base)}
    return found


def _from(base: Path, value: Any) -> Any:
    return str((base / value).resolve()) if isinstance(value, str) else value


def _check_variants(config: ReleaseConfig) -> None:
    check_device_name(config.compile.openvino_device)
    variants = config.compile.variants
    for name in variants:
        if name not in CANDIDATES:
            raise ConfigError(
                "[compile] variants",
                got=repr(name),
                expected="any of " + ", ".join(CANDIDATES),
                fix=_nearest(name, CANDIDATES) or "correct the name or leave the key out for all",
            )
    if not variants or len(set(variants)) != len(variants):
        raise ConfigError(
            "[compile] variants",
            got=str(list(variants)),
            expected="at least one candidate, each once",
            fix="list each candidate once",
        )
    backends = {CANDIDATES[name].backend for name in variants}
    for backend in config.required_backends:
        if backend not in backends:
            raise ConfigError(
                "[gate] required",
                got=repr(backend),
                expected="backends that have a candidate: " + ", ".join(sorted(backends)),
                fix=_nearest(backend, backends)
                or "add a candidate of that backend or take it off the list",
            )
    if not config.required_backends:
        raise ConfigError(
            "[gate] required",
            got="an empty list",
            expected="at least one backend",
            fix="name one, or leave the key out for all",
        )


def _nearest(value: str, known: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(value, list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else None
