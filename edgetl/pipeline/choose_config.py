"""What a comparison of backbones is made on: the data, the input, and a config a backbone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.data.dataset import Dataset
from edgetl.data.sources import is_source, resolve_source, unknown_source
from edgetl.data.splits import largest_remainder, make_splits
from edgetl.errors import DataError, UsageError
from edgetl.gate.toml_table import build
from edgetl.input_json import input_to_json
from edgetl.pipeline.choose_backbones import Backbone
from edgetl.pipeline.config import SCHEMA, ReleaseConfig, load_config
from edgetl.pipeline.init import config_name, name_of_source
from edgetl.pipeline.init_splits import choose_splits
from edgetl.pipeline.init_survey import PartFacts, Survey, survey_source
from edgetl.reference.preset_client import read_preset
from edgetl.spec import ClassifierInput, ImageInput, SingleInput, TensorInput

IMAGES = 500
"""How many training images the features are of, where nobody says otherwise."""

# Held-out images for the harm, and those that fit temperatures: enough to see a harm that matters.
_VAL, _CALIB = 500, 300
_SMALL, _MEDIUM = 48, 160
_PLAIN = {"schema": SCHEMA, "version": "1.0.0"}
_BENCH = {"calls": 20, "rounds": 12, "max_seconds": 60.0}


@dataclass(frozen=True, kw_only=True)
class ChooseRequest:
    """What `edgetl choose` was asked.

    Attributes:
        data: A data source, or the path of a release config.
        budget_ms: The most that the p50 of a call may be, milliseconds.
        backbones, weights: As `edgetl.pipeline.choose_backbones.backbones_of` takes them.
        batch, threads: What latency is measured at; the config's, or 1 and all cores.
        size: The side of a square input in pixels; the config's, or what suits the pictures.
        images: Labelled training images for the features; None takes 500, or more where a class
            is rare.
    """

    data: str
    budget_ms: float
    backbones: tuple[str, ...] = ()
    weights: str | None = None
    batch: int | None = None
    threads: int | None = None
    size: int | None = None
    images: int | None = None

    def __post_init__(self) -> None:
        # A NaN compares as False, so it is refused here too.
        if not 0 < self.budget_ms < math.inf:
            raise UsageError(
                f"--budget-ms {self.budget_ms}",
                got="no time that a call could take",
                expected="a finite number of milliseconds above 0",
                fix="write the most that one call may take on this device, such as 10",
            )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The ground that every backbone is compared on.

    Attributes:
        name: The run's, ``choose-`` and the data's.
        source: As ``[data] source`` has it.
        config: The release config that was given; None for a source.
        input: What every backbone takes; timm's own mean and std come with its weights.
        grey: Whether no picture that was seen has colour.
        table: A release config without an input and a network.
        sizes: The splits of a release on the same data, which are larger: val, calib, test.
    """

    name: str
    source: str
    config: Path | None
    input: SingleInput
    grey: bool
    table: dict[str, Any]
    sizes: Mapping[str, int]

    def of(self, backbone: Backbone) -> ReleaseConfig:
        """The release config of one backbone.

        Raises:
            ConfigError: For an unknown timm network.
        """
        input = self.input
        if backbone.weights == "pretrained" and isinstance(input, ImageInput):
            published = read_preset("timm", backbone.architecture.partition(":")[2])
            input = replace(
                input,
                mean=published.mean,
                std=published.std,
                interpolation=published.interpolation,
            )
        finetune = self.table.get("finetune", {}) | {
            "architecture": backbone.architecture,
            "weights": backbone.weights,
        }
        table = self.table | {"input": input_table(input), "finetune": finetune}
        return build(ReleaseConfig, table, f"backbone {backbone.label}")


def comparison_of(request: ChooseRequest) -> Comparison:
    """Look at the data, and lay down what all backbones share.

    The splits are those of a config that `edgetl init` writes, or of the config that is given, so
    that a test split that a release opens later has no part in the choice; val and calib are
    made smaller.

    Raises:
        UsageError: When the data is neither a source nor a config.
        ConfigError: For a config that cannot be read.
        DataError: For data that cannot be read or split, or a class with fewer than two images.
    """
    config = _config(request.data)
    source = request.data if config is None else config.data.source
    survey = survey_source(source)
    table = _of_source(survey) if config is None else _of_config(config)
    name = name_of_source(source) if config is None else config.name
    table |= _PLAIN | {"name": config_name(f"choose-{name}"), "bench": _BENCH}
    sizes = {name: table["data"].get(name) for name in ("val", "calib", "test")}
    table["data"] = _sized(table["data"], survey, request.images)
    table["gate"] = _gate(table.get("gate", {}), request)
    if request.threads is not None:
        table["threads"] = request.threads
    input = _input(survey) if config is None else config.input.spec()
    return Comparison(
        name=table["name"],
        source=source,
        config=None if config is None else Path(request.data),
        input=_resized(_check_single(input, source), request.size),
        grey=_only(survey).grey,
        table=table,
        sizes={name: size for name, size in sizes.items() if size is not None},
    )


def input_table(input: ClassifierInput) -> dict[str, Any]:
    """``[input]`` of a release config.

    Example:
        >>> input_table(TensorInput(shape=(8, 8)))
        {'kind': 'tensor', 'shape': [8, 8]}
    """
    return {key: value for key, value in input_to_json(input).items() if value is not None}


def _config(data: str) -> ReleaseConfig | None:
    """The release config, or None for a source."""
    if is_source(data):
        return None
    path = Path(data)
    if path.is_file():
        return load_config(path)
    if path.is_dir():
        raise UsageError(
            data,
            got="a folder",
            expected="a data source, which says how the folder is to be read, or a release config",
            fix=f"edgetl choose folder:{data}, for pictures in one folder a class",
        )
    raise unknown_source(data)


def _of_source(survey: Survey) -> dict[str, Any]:
    splits = choose_splits(survey.drawn)
    sizes = {"val": splits.val, "calib": splits.calib, "test": splits.test}
    kept = {name: size for name, size in sizes.items() if size is not None}
    return {"data": {"source": resolve_source(survey.source, Path.cwd()), **kept}}


def _of_config(config: ReleaseConfig) -> dict[str, Any]:
    table = config.to_table()
    table.pop("model")
    finetune = table.pop("finetune") or {}
    kept = {key: finetune[key] for key in ("pretrain", "device") if key in finetune}
    return {key: value for key, value in table.items() if value is not None} | {"finetune": kept}


def _gate(table: dict[str, Any], request: ChooseRequest) -> dict[str, Any]:
    policy = dict(table.get("policy", {}))
    objective = dict(policy.get("objective", {}))
    stated = {"batch": request.batch, "threads": request.threads}
    objective |= {key: value for key, value in stated.items() if value is not None}
    kept = {key: value for key, value in objective.items() if value is not None}
    return {"policy": policy | {"objective": kept}}


def _sized(data: dict[str, Any], survey: Survey, images: int | None) -> dict[str, Any]:
    """Smaller val and calib, and as many train images as the features are to be of."""
    drawn = survey.drawn
    counts = np.bincount(drawn.labels, minlength=len(drawn.classes))
    # Room for two of the rarest class.
    least = 2 * math.ceil(len(drawn) / max(1, int(counts.min())))
    usual = {"val": _VAL, "calib": _CALIB}
    sizes = {name: min(int(data[name]), max(size, least)) for name, size in usual.items()}
    few = None if images is not None else data.get("per_class")
    kept = {name: value for name, value in data.items() if name != "per_class"}
    rest = make_splits(
        drawn,
        val=sizes["val"],
        calib=sizes["calib"],
        test=data.get("test"),
        train=None if few else data.get("train"),
        per_class=few,
        seed=data.get("seed", 0),
    ).train
    if few is not None and few >= 2:
        # A config for a few shots: these are all that there are to learn from.
        return kept | sizes | {"train": None, "per_class": few}
    return kept | sizes | {"train": _train_size(drawn.subset(rest), images)}


def _train_size(rest: Dataset, images: int | None) -> int:
    """How many of the training images, so that every class has at least two of them."""
    counts = np.bincount(rest.labels, minlength=len(rest.classes))
    if images is not None:
        size = min(images, len(rest))
    else:
        rarest = max(1, int(counts.min()))
        size = min(len(rest), max(IMAGES, math.ceil(2 * len(rest) / rarest)))
    quotas = largest_remainder(counts, size)
    if quotas.min() < 2:
        short = int(np.argmin(quotas))
        raise DataError(
            f"class {rest.classes[short]!r}",
            got=f"{int(quotas[short])} of {size} training images for features",
            expected="at least two of every class",
            fix="ask for more with --images, add images of this class, or leave it out",
        )
    return size


def _only(survey: Survey) -> PartFacts:
    return next(iter(survey.parts.values()))


def _check_single(input: ClassifierInput | None, source: str) -> SingleInput:
    if not isinstance(input, ImageInput | TensorInput):
        raise DataError(
            f"dataset {source}",
            got="several inputs",
            expected="one input: backbones that are published take one",
            fix="choose between networks of your own by a release of each",
        )
    return input


def _input(survey: Survey) -> ClassifierInput | None:
    """What `edgetl init` would write for the data; None for several inputs."""
    part = survey.single
    if part is None:
        return None
    if part.kind == "tensor":
        return TensorInput(shape=part.shape)
    side = min(part.height, part.width)
    return _square(224 if side >= _MEDIUM else 32 if side < _SMALL else 96)


def _square(side: int) -> ImageInput:
    """A square input; of photographs the middle is cut out, as published weights were trained."""
    if side < _MEDIUM:
        return ImageInput(height=side, width=side)
    return ImageInput(height=side, width=side, resize_shorter=round(side * 256 / 224))


def _resized(input: SingleInput, size: int | None) -> SingleInput:
    if size is None:
        return input
    if not isinstance(input, ImageInput):
        raise UsageError(
            f"--size {size}",
            got="an input that is not one image",
            expected="pictures, whose side it is",
            fix="leave --size out",
        )
    square = _square(size)
    return replace(
        input,
        height=size,
        width=size,
        resize_shorter=square.resize_shorter if input.letterbox is None else None,
        resize_to=None,
    )
