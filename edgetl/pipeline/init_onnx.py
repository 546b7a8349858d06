"""What `edgetl init` reads from an ONNX file: its input's size, its ending, its classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgetl.data.regular_file import open_regular
from edgetl.errors import ConfigError
from edgetl.pipeline.init_survey import Survey
from edgetl.reference.onnx_file import (
    OnnxDescription,
    OnnxEnding,
    OnnxValue,
    describe_onnx,
    shape_text,
)
from edgetl.spec import ImageInput

_CHANNELS = frozenset({1, 3})


@dataclass(frozen=True, kw_only=True)
class OnnxInput:
    """What a file says of itself.

    Attributes:
        name: Of its input; empty when there are several.
        image: Its input as an image; None when it takes tensors, or does not say its size.
        note: What is said of its ending.
        unclear: Whether the user has to say what it answers.
        check: What the file does not say.
    """

    name: str
    image: ImageInput | None
    note: str
    unclear: bool
    check: tuple[str, ...]


def onnx_input(survey: Survey, path: Path) -> OnnxInput:
    """Read an ONNX file for what a config says of it.

    Raises:
        ConfigError: When it has another number of inputs than the data, answers another number of
            classes, or takes what the data is not.
        ModelError: When it is not a classifier that edgetl takes.
    """
    with open_regular(path, follow_links=True) as stream:
        found = describe_onnx(stream.read())
    _check_classes(survey, found, path)
    if len(found.inputs) != len(survey.parts):
        raise ConfigError(
            f"--model {path}",
            got=f"{len(found.inputs)} inputs: {', '.join(one.name for one in found.inputs)}",
            expected=f"as many as the data has: {len(survey.parts)}",
            fix="give the file and the data the same inputs",
        )
    image: ImageInput | None = None
    check: tuple[str, ...] = ()
    pictures = [part for part in survey.parts.values() if part.kind == "image"]
    if survey.single is not None and pictures:
        image = _image(found.inputs[0], path)
    if pictures:
        size = "" if image is not None else "size, "
        check = (
            f"[input]: {size}mean, std and channels are not in the file; take them from its "
            "training",
        )
    return OnnxInput(
        name=found.inputs[0].name if survey.single is not None else "",
        image=image,
        note=found.note,
        unclear=found.ending is OnnxEnding.UNCLEAR,
        check=check,
    )


def _check_classes(survey: Survey, found: OnnxDescription, path: Path) -> None:
    (answer,) = (one for one in found.outputs if one.name == found.answer)
    count = answer.shape[1] if len(answer.shape) == 2 else None
    classes = len(survey.drawn.classes)
    if count is not None and count != classes:
        raise ConfigError(
            f"--model {path}",
            got=f"{count} classes",
            expected=f"the data's {classes}",
            fix="give the model the data that it was trained for",
        )


def _image(value: OnnxValue, path: Path) -> ImageInput | None:
    """An image of the input's height and width; None when these are free."""
    shape = value.shape
    if len(shape) != 4:
        raise ConfigError(
            f"--model {path}",
            got=f"the input '{value.name}' {shape_text(shape)}",
            expected="[batch, channels, height, width] or [batch, height, width, channels], for "
            "pictures",
            fix="give the model the data that it was trained for",
        )
    _, first, second, last = shape
    channels_last = last in _CHANNELS and first not in _CHANNELS
    channels, height, width = (last, first, second) if channels_last else (first, second, last)
    if height is None or width is None:
        return None
    if channels == 1:
        return ImageInput(height=height, width=width, channels="grey", mean=(0.5,), std=(0.5,))
    return ImageInput(height=height, width=width)
