"""A classifier's input as plain data, for manifests, checkpoints and messages between processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_args

from edgetl.errors import SpecError
from edgetl.spec import (
    Channels,
    ClassifierInput,
    ImageInput,
    Interpolation,
    PixelRange,
    SeveralInputs,
    SingleInput,
    TensorInput,
)


def input_to_json(spec: ClassifierInput) -> dict[str, Any]:
    """The input as plain data, for manifests and checkpoints.

    Example:
        >>> input_from_json(input_to_json(TensorInput(shape=(64,))))
        TensorInput(shape=(64,))
    """
    if isinstance(spec, TensorInput):
        return {"kind": "tensor", "shape": list(spec.shape)}
    if isinstance(spec, SeveralInputs):
        parts = [{"name": name} | input_to_json(part) for name, part in spec.parts.items()]
        return {"kind": "several", "parts": parts}
    written: dict[str, Any] = {
        "kind": "image",
        "height": spec.height,
        "width": spec.width,
        "resize_shorter": spec.resize_shorter,
        "interpolation": spec.interpolation,
        "mean": list(spec.mean),
        "std": list(spec.std),
    }
    # Written only where they matter: a description that needs none stays as it always was.
    for name, default in _LATER_KEYS.items():
        value = getattr(spec, name)
        if value != default:
            written[name] = list(value) if isinstance(value, tuple) else value
    return written


_LATER_KEYS: Mapping[str, Any] = MappingProxyType(
    {
        "resize_to": None,
        "letterbox": None,
        "antialias": True,
        "channels": "rgb",
        "pixel_range": "0-1",
    }
)
_IMAGE_KEYS = frozenset(
    {"kind", "height", "width", "resize_shorter", "interpolation", "mean", "std", *_LATER_KEYS}
)


def input_from_json(value: Mapping[str, Any]) -> ClassifierInput:
    """The inverse of `input_to_json`. A key that is not known is refused: it could change pixels.

    Raises:
        SpecError: When the value is not what `input_to_json` writes.
    """
    try:
        if value["kind"] == "several":
            return SeveralInputs(parts=_parts(value["parts"]))
        return _single(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SpecError(
            "input description",
            got=f"{type(error).__name__}: {error}",
            expected="an input as edgetl writes it",
            fix="write the file anew with the command that made it, or update edgetl",
        ) from error


def _parts(values: Sequence[Mapping[str, Any]]) -> dict[str, SingleInput]:
    parts: dict[str, SingleInput] = {}
    for value in values:
        name = value["name"]
        if not isinstance(name, str) or not name.isidentifier() or name in parts:
            raise ValueError(f"the input name {name!r}")
        parts[name] = _single({key: held for key, held in value.items() if key != "name"})
    return parts


def _single(value: Mapping[str, Any]) -> SingleInput:
    if value["kind"] == "tensor":
        return TensorInput(shape=tuple(_positive(size) for size in value["shape"]))
    unknown = sorted(value.keys() - _IMAGE_KEYS)
    if value["kind"] != "image" or unknown:
        raise ValueError(
            f"the kind {value['kind']!r}" if not unknown else f"the key {unknown[0]!r}"
        )
    shorter, to = value["resize_shorter"], value.get("resize_to")
    return ImageInput(
        height=_positive(value["height"]),
        width=_positive(value["width"]),
        resize_shorter=None if shorter is None else _positive(shorter),
        resize_to=None if to is None else _pair(to),
        letterbox=_grey(value.get("letterbox")),
        interpolation=_one_of(value["interpolation"], get_args(Interpolation)),
        antialias=_one_of(value.get("antialias", True), (True, False)),
        channels=_one_of(value.get("channels", "rgb"), get_args(Channels)),
        pixel_range=_one_of(value.get("pixel_range", "0-1"), get_args(PixelRange)),
        mean=tuple(float(number) for number in value["mean"]),
        std=tuple(float(number) for number in value["std"]),
    )


def _one_of(value: Any, allowed: tuple[Any, ...]) -> Any:
    # By type as well: 1 is equal to True.
    if not any(value == one and type(value) is type(one) for one in allowed):
        raise ValueError(f"{value!r}, not one of {allowed}")
    return value


def _pair(value: Any) -> tuple[int, int]:
    first, second = value
    return _positive(first), _positive(second)


def _grey(value: Any) -> int | None:
    if value is not None and (type(value) is not int or not 0 <= value <= 255):
        raise ValueError(f"the grey value {value!r}")
    return value


def _positive(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= 1 << 24:
        raise ValueError(f"the size {value!r}")
    return value
