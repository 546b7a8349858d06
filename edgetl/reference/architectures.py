"""The architectures by name, and which inputs they take. Known without torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgetl.errors import ConfigError
from edgetl.spec import ClassifierInput, ImageInput, TensorInput

HEADS: Mapping[str, str] = MappingProxyType(
    {
        "resnet18": "fc",
        "resnet50": "fc",
        "mobilenet_v3_small": "classifier.3",
        "mobilenet_v3_large": "classifier.3",
        "efficientnet_b0": "classifier.1",
        "vit_b_16": "heads.head",
        "mlp": "head",
    }
)
"""Architecture -> the dotted name of its last linear layer."""

ARCHITECTURES = tuple(HEADS)
_VIT_PATCH = 16


def check_architecture(architecture: str, input: ClassifierInput) -> None:
    """Refuse an unknown architecture, and one that does not take the input.

    Args:
        architecture: One of `ARCHITECTURES`. ``mlp`` takes a tensor, the others an image.
        input: What the classifier takes.

    Raises:
        ConfigError: Naming what would fit.

    Example:
        >>> check_architecture("resnet18", ImageInput(height=96, width=96))
    """
    if architecture not in HEADS:
        raise ConfigError(
            "architecture",
            got=repr(architecture),
            expected=f"one of {', '.join(ARCHITECTURES)}",
            fix="choose one of them",
        )
    wants_tensor = architecture == "mlp"
    if wants_tensor != isinstance(input, TensorInput):
        raise ConfigError(
            f"architecture '{architecture}'",
            got="an image input" if wants_tensor else "a tensor input",
            expected="a tensor input" if wants_tensor else "an image input",
            fix="use 'mlp' for tensors, and a torchvision network for images",
        )
    if isinstance(input, ImageInput) and architecture == "vit_b_16":
        _check_patches(input)


def _check_patches(input: ImageInput) -> None:
    if input.height != input.width or input.height % _VIT_PATCH:
        raise ConfigError(
            "architecture 'vit_b_16'",
            got=f"an input of {input.height} x {input.width}",
            expected=f"a square whose side is a multiple of {_VIT_PATCH}",
            fix="set both sides to, say, 96 or 224",
        )
