"""Which network `edgetl init` writes into a config, and which input, each with its source."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from edgetl.errors import ConfigError, UsageError
from edgetl.extras import extra
from edgetl.pipeline.init_survey import PartFacts, Survey
from edgetl.pipeline.toml_text import comment, entry
from edgetl.reference.architectures import ARCHITECTURES
from edgetl.reference.preset_client import read_preset
from edgetl.spec import ImageInput

# Shorter sides of pictures, in pixels, and what a network then sees of them.
_SMALL, _MEDIUM = 48, 160
_TORCHVISION = tuple(name for name in ARCHITECTURES if name != "mlp")
_KINDS = "timm:NAME, torchvision:NAME, python:MODULE:FACTORY, or an .onnx file"


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """A section [finetune] or [model], and the section [input].

    Attributes:
        model, input: Lines of TOML, headers included.
        check: What no file says, and a person has to look at.
    """

    model: tuple[str, ...]
    input: tuple[str, ...]
    check: tuple[str, ...] = ()


def choose_model(
    survey: Survey, *, model: str | None, weights: str | None, base: Path
) -> ModelPlan:
    """Choose what to train, or describe what is trained already.

    Args:
        survey: Of the data.
        model: ``timm:NAME``, ``torchvision:NAME`` or that name alone, ``python:MODULE:FACTORY``,
            the path of an ONNX file, or None for a backbone that suits the data.
        weights: The trained weights, or ``factory``; None when there are none.
        base: The config's folder; paths are written relative to it.

    Raises:
        ConfigError: When the model is none of these, or cannot take the data.
        UsageError: For weights without a model that takes them.
    """
    if model is None:
        if weights is not None:
            raise UsageError(
                f"--weights {weights}",
                got="no --model",
                expected="the network that the weights are of",
                fix=f"add --model with {_KINDS}",
            )
        return _usual(survey)
    if model.endswith(".onnx"):
        return _onnx(survey, model, weights, base)
    kind, _, name = model.partition(":")
    if kind == "python" and name:
        return _own(survey, model, weights, base)
    if kind == "timm" and name:
        return _published(survey, kind, name, weights, base)
    plain = model.removeprefix("torchvision:")
    if plain in _TORCHVISION:
        return _published(survey, "torchvision", plain, weights, base)
    raise _unknown(model)


def _unknown(model: str) -> UsageError:
    """With the nearest name in the form that was typed: with the kind before it, or without."""
    prefix = "torchvision:" if model.startswith("torchvision:") else ""
    near = difflib.get_close_matches(model.removeprefix(prefix), _TORCHVISION, n=1)
    if near or prefix:
        return UsageError(
            f"--model {model}",
            got="no torchvision network that edgetl has",
            expected=f"one of {', '.join(_TORCHVISION)}; or timm:NAME, python:MODULE:FACTORY, "
            "an .onnx file",
            fix=f"did you mean '{prefix}{near[0]}'?" if near else "choose one of them",
        )
    return UsageError(
        f"--model {model}",
        got="no kind of model that is known",
        expected=_KINDS,
        fix="write the kind before the name, such as torchvision:resnet18",
    )


def relative(path: str, base: Path) -> str:
    """A path of the command line as a config in `base` has it: relative, unless it is absolute."""
    return path if Path(path).is_absolute() else os.path.relpath(path, base)


def _usual(survey: Survey) -> ModelPlan:
    part = _single(survey)
    if part.kind == "tensor":
        return ModelPlan(
            model=(
                "[finetune]",
                entry("architecture", "mlp", "or python:MODULE:FACTORY, a network of your own"),
                entry("weights", "none", "it learns from nothing"),
                entry("recipe", "full", "every parameter at once"),
                entry("epochs", 30, "at most; it stops when val gets no better"),
                entry("learning_rate", 3e-3),
            ),
            input=_tensor_lines(part),
        )
    side = min(part.height, part.width)
    # ImageNet's features are of photographs. Drawn letters are small, and strokes without colour.
    letters = side < _SMALL and part.grey
    return ModelPlan(
        model=(
            "[finetune]",
            entry("architecture", "resnet18", "or another of edgetl's, timm:NAME, python:…"),
            entry(
                "weights",
                "letters" if letters else "imagenet",
                "learnt here from drawn letters: these pictures are as small, and as grey"
                if letters
                else 'downloaded once; "letters" needs no download',
            ),
            *_recipe(),
        ),
        input=_sized_lines(part),
    )


def _recipe() -> tuple[str, ...]:
    return (
        entry("recipe", "two-stage", "the new head first, then everything at a lower rate"),
        entry("epochs", 10, "at most; it stops when val gets no better"),
        entry("head_epochs", 2),
        entry("augment", "light-flip", "when a mirrored picture is as good", off=True),
        entry("device", "auto", '"cuda" insists on a GPU, "cpu" keeps off it'),
    )


def _published(survey: Survey, kind: str, name: str, weights: str | None, base: Path) -> ModelPlan:
    _need_pictures(survey, f"{kind}:{name}")
    spec = read_preset("timm" if kind == "timm" else "torchvision", name)
    architecture = f"timm:{name}" if kind == "timm" else name
    lines = _spec_lines(spec, f"of {kind}'s {name}, as its weights were trained")
    if weights is not None:
        return ModelPlan(
            model=_trained(architecture, weights, base),
            input=lines,
            check=(
                f"[input] is what {kind} says of {name}; if your training did otherwise, correct "
                "it, or name its transform in [model]",
            ),
        )
    known = "pretrained" if kind == "timm" else "imagenet"
    return ModelPlan(
        model=(
            "[finetune]",
            entry("architecture", architecture),
            entry("weights", known, "downloaded once; its head is made anew for your classes"),
            *_recipe(),
        ),
        input=lines,
    )


def _own(survey: Survey, model: str, weights: str | None, base: Path) -> ModelPlan:
    lines, check = _data_lines(survey)
    where = comment("MODULE is a file in the config's folder; set `code` above for another.")
    if weights is not None:
        return ModelPlan(model=(where, *_trained(model, weights, base)), input=lines, check=check)
    return ModelPlan(
        model=(
            where,
            "[finetune]",
            entry("architecture", model),
            entry("weights", "none", '"factory" when the function returns trained weights'),
            entry("recipe", "full", "every parameter at once"),
            entry("epochs", 20, "at most; it stops when val gets no better"),
        ),
        input=lines,
        check=check,
    )


def _trained(architecture: str, weights: str, base: Path) -> tuple[str, ...]:
    found = weights if weights == "factory" else relative(weights, base)
    return (
        "[model]",
        entry("architecture", architecture),
        entry("weights", found),
        entry("weights_entry", "state_dict", "the entry of a .pt file that holds them", off=True),
        entry("weights_prefix", "model.", "taken off every key", off=True),
        entry("head", "fc", "the last linear layer, where it cannot be found", off=True),
        entry("transform", "python:MODULE:NAME", "checks [input] against your own", off=True),
    )


def _onnx(survey: Survey, model: str, weights: str | None, base: Path) -> ModelPlan:
    if weights is not None:
        raise UsageError(
            f"--weights {weights}",
            got="given beside an ONNX file",
            expected="nothing: the file holds its weights",
            fix="leave --weights out",
        )
    with extra("export"):
        from edgetl.pipeline.init_onnx import onnx_input

    found = onnx_input(survey, Path(model))
    section = ["[model]", entry("onnx", relative(model, base), found.note)]
    check = found.check
    if found.unclear:
        section.append(
            entry("output", "logits", 'or "probabilities": the file does not say', off=True)
        )
        check = (*check, "[model] output: the file does not say what it answers")
    section.append(
        entry("transform", "python:MODULE:NAME", "checks [input] against your own", off=True)
    )
    if found.image is None:
        lines, _ = _data_lines(survey)
    else:
        lines = _spec_lines(
            found.image, f"the size of the file's input '{found.name}'", unsure=True
        )
    return ModelPlan(model=tuple(section), input=lines, check=check)


def _single(survey: Survey) -> PartFacts:
    if survey.single is None:
        raise ConfigError(
            f"--data {survey.source}",
            got=f"several inputs: {', '.join(survey.parts)}",
            expected="a network that takes them: edgetl has none of its own",
            fix="add --model python:MODULE:FACTORY, or an .onnx file",
        )
    return survey.single


def _need_pictures(survey: Survey, model: str) -> None:
    part = survey.single
    if part is None or part.kind == "tensor":
        got = "several inputs" if part is None else f"tensors of {list(part.shape)}"
        raise ConfigError(
            f"--model {model}",
            got=got,
            expected="pictures",
            fix="name a network that takes them: --model python:MODULE:FACTORY",
        )


def _data_lines(survey: Survey) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The input as the data is, and what to look at."""
    part = survey.single
    unsure = "[input]: size, mean and std must be those of your network's training"
    if part is not None:
        if part.kind == "tensor":
            return _tensor_lines(part), ()
        return _sized_lines(part, unsure=True), (unsure,)
    lines = ["[input]", entry("kind", "several", "as the data's arrays are named")]
    for name, facts in survey.parts.items():
        inner = _tensor_lines(facts) if facts.kind == "tensor" else _sized_lines(facts, unsure=True)
        lines += [f"[input.parts.{name}]", *inner[1:]]
    pictures = any(facts.kind == "image" for facts in survey.parts.values())
    return tuple(lines), (unsure,) if pictures else ()


def _tensor_lines(part: PartFacts) -> tuple[str, ...]:
    return (
        "[input]",
        entry("kind", "tensor"),
        entry("shape", list(part.shape), "of one sample, as the data has it"),
    )


def _sized_lines(part: PartFacts, *, unsure: bool = False) -> tuple[str, ...]:
    side = min(part.height, part.width)
    seen = f"pictures are about {part.height} × {part.width} (median of {part.looked_at:,})"
    if side < _MEDIUM:
        size = 32 if side < _SMALL else 96
        spec = ImageInput(height=size, width=size)
    else:
        spec = ImageInput(height=224, width=224, resize_shorter=256)
    return _spec_lines(spec, seen, unsure=unsure)


def _spec_lines(spec: ImageInput, why: str, *, unsure: bool = False) -> tuple[str, ...]:
    """An image input, key by key; what is left at its default is left out, but for mean and std."""
    lines = ["[input]", entry("height", spec.height, why), entry("width", spec.width)]
    if spec.resize_shorter is not None:
        lines.append(entry("resize_shorter", spec.resize_shorter, "then the middle is cut out"))
    if spec.resize_to is not None:
        lines.append(entry("resize_to", list(spec.resize_to), "then the middle is cut out"))
    usual = ImageInput(height=1, width=1)
    for key in ("letterbox", "interpolation", "antialias", "pixel_range"):
        if getattr(spec, key) != getattr(usual, key):
            lines.append(entry(key, getattr(spec, key)))
    if spec.channels != usual.channels:
        lines.append(entry("channels", spec.channels))
    said = "CHECK: your network's own, of 0 to 1" if unsure else ""
    return (
        *lines,
        entry("mean", list(spec.mean), said or "taken from each channel of 0 to 1"),
        entry("std", list(spec.std), said or "divides each channel"),
    )
