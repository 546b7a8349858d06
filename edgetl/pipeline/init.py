"""`edgetl init`: a commented config from a dataset and, where there is one, a model."""

from __future__ import annotations

import json
import os
import re
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgetl.errors import ConfigError
from edgetl.gate.policy import Policy
from edgetl.pipeline.candidates import USUAL
from edgetl.pipeline.config import SCHEMA, ReleaseConfig, load_config
from edgetl.pipeline.config_help import DESCRIPTIONS
from edgetl.pipeline.config_schema import config_schema
from edgetl.pipeline.init_model import ModelPlan, choose_model, relative
from edgetl.pipeline.init_splits import SplitPlan, choose_splits
from edgetl.pipeline.init_survey import Survey, survey_source
from edgetl.pipeline.toml_text import comment, entry

SCHEMA_FILE = "edgetl-config-1.json"
"""The JSON Schema's name beside a config."""

_CLASSES_NAMED = 6


@dataclass(frozen=True, kw_only=True)
class NewConfig:
    """A config that was made.

    Attributes:
        name: The release's.
        text: The TOML file; it loads as it is.
        check: What nothing says and a person has to look at, a sentence each.
        summary: What was found in the data.
        config: As it loads.
    """

    name: str
    text: str
    check: tuple[str, ...]
    summary: str
    config: ReleaseConfig


def make_config(
    source: str,
    *,
    model: str | None = None,
    weights: str | None = None,
    base: Path,
    name: str,
    schema_file: str | None = None,
) -> NewConfig:
    """Look at a dataset and write a config for it, with the reason of each number.

    Args:
        source: As ``[data] source`` has it; a path is relative to the working folder.
        model: ``timm:NAME``, ``torchvision:NAME``, ``python:MODULE:FACTORY`` or the path of an
            ONNX file; None for a backbone that suits the data.
        weights: Trained weights of the model, or ``factory``.
        base: The folder that the config is for: its paths are relative to it.
        name: The release's name.
        schema_file: The JSON Schema beside the config, for editors.

    Raises:
        DataError: When the data cannot be read or split.
        EdgetlError: When the model cannot be described, or is not for this data.
    """
    survey = survey_source(source)
    plan = choose_model(survey, model=model, weights=weights, base=base)
    splits = choose_splits(survey.drawn, trained_elsewhere="[model]" in plan.model)
    return compose(survey, splits, plan, base=base, name=name, schema_file=schema_file)


def compose(
    survey: Survey,
    splits: SplitPlan,
    plan: ModelPlan,
    *,
    base: Path,
    name: str,
    schema_file: str | None = None,
    command: str = "edgetl init",
    top: Sequence[str] = (),
) -> NewConfig:
    """A config out of what was seen and chosen, proved to load.

    Args:
        survey: Of the data.
        splits: Their sizes.
        plan: The sections [finetune] or [model], and [input].
        base, name, schema_file: As for `make_config`.
        command: Who writes it.
        top: Further lines before the first section.

    Raises:
        ConfigError: When it does not load: for a key or value that was asked for.
    """
    check = (*plan.check, *_doubts(survey))
    lines = _lines(
        survey, splits, plan, base=base, name=name, schema=schema_file, command=command, top=top
    )
    text = "\n".join(lines) + "\n"
    return NewConfig(
        name=name, text=text, check=check, summary=_summary(survey), config=_proved(text, base)
    )


def schema_bytes() -> bytes:
    """The JSON Schema of a config, as docs/schemas/config-1.json has it."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False).encode() + b"\n"


def config_name(text: str) -> str:
    """A release's name out of a text, such as a folder's name.

    Example:
        >>> config_name("my photos (2)")
        'my-photos-2'
    """
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")
    return words[:64].strip("._-") or "classifier"


def name_of_source(source: str) -> str:
    """A release's name out of a source's.

    Example:
        >>> name_of_source("folder:/data/my photos")
        'my-photos'
    """
    kind, _, place = source.partition(":")
    return config_name(place if kind == "builtin" else Path(place).resolve().stem)


def _proved(text: str, base: Path) -> ReleaseConfig:
    """Refuse to hand out a config that does not load."""
    handle, place = tempfile.mkstemp(prefix=".edgetl-init.", suffix=".toml", dir=base)
    path = Path(place)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        return load_config(path)
    except ConfigError as error:
        raise ConfigError(
            error.subject.removeprefix(f"{path}: "),
            got=error.got,
            expected=error.expected,
            fix=error.fix,
        ) from error
    finally:
        path.unlink()


def _lines(
    survey: Survey,
    splits: SplitPlan,
    plan: ModelPlan,
    *,
    base: Path,
    name: str,
    schema: str | None,
    command: str,
    top: Sequence[str],
) -> Iterator[str]:
    if schema is not None:
        yield f"#:schema ./{schema}"
    yield comment(f"Written by `{command}`, and meant to be read and changed.")
    for doubt in (*plan.check, *_doubts(survey)):
        yield comment(f"CHECK {doubt}")
    yield entry("schema", SCHEMA)
    yield entry("name", name, "the run's folder is runs/NAME")
    yield entry("version", "1.0.0", "the bundle is NAME-VERSION.edgetl")
    yield entry("code", ".", "the folder of python:MODULE:NAME", off=True)
    yield from top
    yield from ("", *_data(survey, splits, base))
    yield from ("", *plan.input)
    yield from ("", *plan.model)
    yield from ("", *_candidates())
    yield from ("", *_policy())


def _data(survey: Survey, splits: SplitPlan, base: Path) -> Iterator[str]:
    kind, _, place = survey.source.partition(":")
    source = survey.source if kind == "builtin" else f"{kind}:{relative(place, base)}"
    yield "[data]"
    yield entry("source", source)
    yield comment(_summary(survey))
    for sentence in splits.decides:
        yield comment(sentence)
    yield entry("val", splits.val, splits.why["val"])
    yield entry("calib", splits.calib, splits.why["calib"])
    if splits.test is None:
        yield entry("test", splits.tested, f"left out: {splits.why['test']}", off=True)
    else:
        yield entry("test", splits.test, splits.why["test"])
    yield entry("train", splits.train, f"left out: {splits.why['train']}", off=True)


def _summary(survey: Survey) -> str:
    counts = survey.class_counts
    shown = ", ".join(f"{name}: {count:,}" for name, count in list(counts.items())[:_CLASSES_NAMED])
    more = "" if len(counts) <= _CLASSES_NAMED else f", and {len(counts) - _CLASSES_NAMED} more"
    total = len(survey.drawn)
    return f"{total:,} samples of {len(counts)} classes: {shown}{more}."


def _doubts(survey: Survey) -> Iterator[str]:
    if survey.problems:
        first = survey.problems[0]
        yield (
            f"{len(survey.problems)} of the data's files cannot be used, such as {first.place} "
            f"({first.why}): the data stage refuses them; see edgetl inspect "
            f"{shlex.quote(survey.source)}"
        )


def _candidates() -> tuple[str, ...]:
    return (
        "[compile]",
        entry("variants", list(USUAL), "these, when left out", off=True),
        entry("openvino_device", "CPU", "or GPU, NPU, AUTO", off=True),
    )


def _policy() -> tuple[str, ...]:
    policy = Policy()
    names = (name for name in Policy.__dataclass_fields__ if name.startswith("max_"))
    limits = [name for name in names if getattr(policy, name) is not None]
    return (
        "[gate.policy]",
        comment("These limits hold when they are left out."),
        *(
            entry(name, float(getattr(policy, name)), DESCRIPTIONS[f"gate.policy.{name}"], off=True)
            for name in limits
        ),
    )
