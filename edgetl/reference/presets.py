"""The preprocessing that published weights were trained with, as an `ImageInput`.

`python -m edgetl.reference.presets KIND NAME` prints it as one line of JSON; this is how
`edgetl.reference.preset_client` asks, for processes that must not import torch.
"""

from __future__ import annotations

import difflib
import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from edgetl.errors import ConfigError, EdgetlError
from edgetl.extras import extra
from edgetl.input_json import input_to_json
from edgetl.spec import ImageInput, Interpolation

_INTERPOLATIONS: dict[str, Interpolation] = {
    "nearest": "nearest",
    # Pillow has one nearest; torchvision gives both of its names to it.
    "nearest-exact": "nearest",
    "bilinear": "bilinear",
    "bicubic": "bicubic",
    "lanczos": "lanczos",
}


def input_from_torchvision(weights: str) -> ImageInput:
    """What the weights' own ``transforms()`` do to a Pillow image.

    Args:
        weights: As ``torchvision.models.get_weight`` takes them, such as
            ``"ResNet18_Weights.IMAGENET1K_V1"``; or a model's name, such as ``"resnet18"``, for
            its default weights.

    Raises:
        ConfigError: When there are no such weights, or they are not of an image classifier.
        MissingExtraError: When torchvision is not installed.

    Example:
        >>> spec = input_from_torchvision("ResNet18_Weights.IMAGENET1K_V1")
        >>> spec.height, spec.resize_shorter, spec.interpolation
        (224, 256, 'bilinear')
    """
    with extra("train"):
        from torchvision import models
    try:
        # A model's name has no dot; its default weights are those that training starts from.
        named = (
            models.get_weight(weights)
            if "." in weights
            else models.get_model_weights(weights).DEFAULT
        )
        transform = named.transforms()
    except (ValueError, KeyError) as error:
        raise _unknown("torchvision weights", weights, _torchvision_names()) from error
    if type(transform).__name__ != "ImageClassification":
        raise ConfigError(
            f"torchvision weights '{weights}'",
            got=f"weights with the transform {type(transform).__name__}",
            expected="an image classifier's weights, with ImageClassification",
            fix="name a classifier's weights",
        )
    crop = _sizes(transform.crop_size)
    resize = _sizes(transform.resize_size)
    # The antialias of the transform is for tensors: Pillow filters pictures whatever it says.
    return ImageInput(
        height=crop[0],
        width=crop[-1],
        resize_shorter=resize[0] if len(resize) == 1 else None,
        resize_to=(resize[0], resize[1]) if len(resize) == 2 else None,
        interpolation=_interpolation(f"torchvision weights '{weights}'", transform.interpolation),
        mean=_numbers(transform.mean),
        std=_numbers(transform.std),
    )


def input_from_timm(name: str) -> ImageInput:
    """What ``timm.data.create_transform`` does to a Pillow image with the model's own settings.

    Only timm's table of pretrained settings is read: nothing is built and nothing fetched. The
    sizes are those of timm's default, not the test sizes that some models also have.

    Args:
        name: A timm model, with its tag or without: ``"resnet50.a1_in1k"``, ``"resnet50"``.

    Raises:
        ConfigError: When timm knows no such model, or its preprocessing cannot be told as an
            `ImageInput`.
        MissingExtraError: When timm is not installed.

    Example:
        >>> spec = input_from_timm("vit_base_patch16_224.augreg_in21k_ft_in1k")
        >>> spec.resize_shorter, spec.interpolation, spec.mean
        (248, 'bicubic', (0.5, 0.5, 0.5))
    """
    with extra("train"):
        from timm.data import resolve_data_config
        from timm.models import get_pretrained_cfg, is_model, list_models, list_pretrained
    try:
        settings = get_pretrained_cfg(name) if is_model(name) else None
    except RuntimeError as error:
        raise _unknown("timm model", name, list_pretrained()) from error
    if settings is None:
        raise _unknown("timm model", name, [*list_pretrained(), *list_models()])
    return _from_data_config(name, resolve_data_config(pretrained_cfg=settings.to_dict()))


def _from_data_config(name: str, data: dict[str, Any]) -> ImageInput:
    subject = f"timm model '{name}'"
    channels, height, width = data["input_size"]
    mean, std = _numbers(data["mean"]), _numbers(data["std"])
    if channels != 3 or len(mean) != 3:
        raise _not_told(subject, f"{channels} channels with the mean {list(mean)}")
    return ImageInput(
        height=height,
        width=width,
        interpolation=_interpolation(subject, data["interpolation"]),
        mean=mean,
        std=std,
        **_timm_resize(subject, data),
    )


def _timm_resize(subject: str, data: dict[str, Any]) -> dict[str, Any]:
    """The keyword of `ImageInput` that says how timm comes to the size."""
    _, height, width = data["input_size"]
    to = tuple(math.floor(size / data["crop_pct"]) for size in (height, width))
    if data["crop_mode"] == "squash":
        return {} if to == (height, width) else {"resize_to": to}
    if data["crop_mode"] == "border":
        grey = {round(255 * value) for value in data["mean"]}
        if to != (height, width) or len(grey) != 1:
            raise _not_told(subject, "the crop mode 'border' with a crop or a coloured border")
        return {"letterbox": grey.pop()}
    if to[0] != to[1]:
        raise _not_told(subject, f"the crop mode 'center' with the size {height} × {width}")
    return {"resize_shorter": to[0]}


def _interpolation(subject: str, given: Any) -> Interpolation:
    name = str(getattr(given, "value", given))
    if name not in _INTERPOLATIONS:
        raise _not_told(subject, f"the interpolation '{name}'")
    return _INTERPOLATIONS[name]


def _sizes(given: int | Sequence[int]) -> tuple[int, ...]:
    return (given,) if isinstance(given, int) else tuple(given)


def _numbers(given: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(number) for number in given)


def _not_told(subject: str, got: str) -> ConfigError:
    return ConfigError(
        subject,
        got=got,
        expected="preprocessing that [input] can say",
        fix="write [input] by hand, and name the model's own code under model.transform: "
        "the export then compares the two",
    )


def _unknown(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    # By lower case: "resnet18" is to find "ResNet18_Weights.IMAGENET1K_V1".
    spelled = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), spelled, n=3, cutoff=0.3)
    return ConfigError(
        f"{kind} '{name}'",
        got="an unknown name",
        expected=f"a name such as {', '.join(spelled[one] for one in near) or next(iter(known))}",
        fix="check the spelling and the tag after the dot",
    )


def _torchvision_names() -> list[str]:
    from torchvision import models

    return [
        f"{type(one).__name__}.{one.name}"
        for module in (models, models.quantization)
        for model in models.list_models(module=module)
        for one in models.get_model_weights(model)
    ]


_KINDS = {"torchvision": input_from_torchvision, "timm": input_from_timm}


def main(arguments: Sequence[str]) -> int:
    """Print the input of KIND NAME as one line of JSON, or the error in its four parts."""
    kind, name = arguments
    try:
        said: dict[str, Any] = {"input": input_to_json(_KINDS[kind](name))}
        status = 0
    except EdgetlError as error:
        parts = ("subject", "got", "expected", "fix")
        said = {"error": type(error).__name__} | {part: getattr(error, part) for part in parts}
        status = error.exit_code
    print(json.dumps(said))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
