"""Which backbones `edgetl choose` compares: their names, and the weights that each starts from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgetl.errors import UsageError
from edgetl.reference.architectures import TIMM, check_architecture
from edgetl.reference.user_code import USER_CODE
from edgetl.spec import ClassifierInput, ImageInput

PHOTOS = (
    "mobilenet_v3_small",
    "shufflenet_v2_x1_0",
    "regnet_y_400mf",
    "timm:convnext_atto",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "resnet18",
    "resnet50",
    "convnext_tiny",
)
"""Compared when none is named, small to large: their published weights know photographs."""

DRAWINGS = ("mobilenet_v3_small", "shufflenet_v2_x1_0", "regnet_y_400mf", "resnet18")
"""Compared on small grey pictures when none is named: each is pretrained on letters here."""

LETTERS, PUBLISHED = "letters", "imagenet"
_SAFETENSORS = ".safetensors"
_WORDS = (PUBLISHED, "pretrained", LETTERS, "none", "factory")
_SMALL = 48


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """One backbone that is compared.

    Attributes:
        label: What it is called in every result: the architecture, and the weights where they
            were named for it alone.
        architecture, weights: As ``[finetune]`` of a release config has them.
    """

    label: str
    architecture: str
    weights: str

    @property
    def folder(self) -> str:
        """A folder's name of its own.

        Example:
            >>> Backbone(label="timm:a", architecture="timm:a", weights="none").folder
            'timm-a-0329047a'
        """
        tail = hashlib.sha256(self.label.encode()).hexdigest()[:8]
        return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', self.label)[:60]}-{tail}"


def backbones_of(
    names: Sequence[str], *, weights: str | None, input: ClassifierInput, grey: bool = False
) -> tuple[Backbone, ...]:
    """The backbones of the command line, or those that suit the input.

    Args:
        names: ``NAME`` or ``NAME=WEIGHTS``; WEIGHTS is a safetensors file or a word of
            ``[finetune] weights``. The usual ones when empty.
        weights: Of every backbone that is named without its own. Without this, small grey
            pictures take ``letters``, others the published ones: ``imagenet`` of torchvision,
            ``pretrained`` of timm. A `python:` factory gives its own.
        input: What the classifier takes.
        grey: Whether the pictures that were seen have no colour.

    Raises:
        UsageError: For two alike, a weights file that is not there, an unknown word, or an input
            that no published backbone takes and no name.
        ConfigError: For an unknown architecture, the nearest one named, or another input.

    Example:
        >>> photo = ImageInput(height=224, width=224)
        >>> [one.weights for one in backbones_of(["resnet18", "timm:a=none"], weights=None,
        ...                                      input=photo)]
        ['imagenet', 'none']
    """
    drawn = isinstance(input, ImageInput) and grey and min(input.height, input.width) < _SMALL
    usual = weights or (LETTERS if drawn else PUBLISHED)
    chosen = names or _usual(input, letters=usual == LETTERS)
    found = tuple(_backbone(name, usual, stated=weights is not None) for name in chosen)
    for one in found:
        check_architecture(one.architecture, input)
    labels = [one.label for one in found]
    if len(set(labels)) != len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise UsageError(
            f"--backbones {twice}",
            got="named twice",
            expected="each backbone once, or with other weights",
            fix="leave one of them out",
        )
    return found


def _usual(input: ClassifierInput, *, letters: bool) -> tuple[str, ...]:
    if isinstance(input, ImageInput):
        return DRAWINGS if letters else PHOTOS
    raise UsageError(
        "--backbones",
        got="none, for an input that is not one image",
        expected="networks that take it: no published backbone does",
        fix="name some, such as --backbones mlp=WEIGHTS.safetensors or python:MODULE:FACTORY",
    )


def _backbone(text: str, usual: str, *, stated: bool) -> Backbone:
    architecture, equals, own = text.partition("=")
    architecture = architecture.removeprefix("torchvision:")
    if not equals:
        weights = _suited(architecture, usual, stated=stated)
        return Backbone(label=architecture, architecture=architecture, weights=checked(weights))
    weights = checked(_suited(architecture, own, stated=True))
    label = f"{architecture}={Path(own).name}"
    return Backbone(label=label, architecture=architecture, weights=weights)


def _suited(architecture: str, weights: str, *, stated: bool) -> str:
    """The word that this architecture's published weights have, or its factory's own."""
    if weights == PUBLISHED and architecture.startswith(TIMM):
        return "pretrained"
    if architecture.startswith(USER_CODE) and not stated:
        return "factory"
    return weights


def checked(weights: str) -> str:
    """A word that ``[finetune] weights`` knows as it is, or the absolute path of a file.

    Raises:
        UsageError: When it is neither.

    Example:
        >>> checked("letters")
        'letters'
    """
    if weights in _WORDS:
        return weights
    path = Path(weights)
    if path.suffix == _SAFETENSORS and path.is_file():
        return str(path.resolve())
    raise UsageError(
        f"weights {weights}"[:200],
        got="a file that is not there" if path.suffix == _SAFETENSORS else "no kind of weights",
        expected=f"{', '.join(_WORDS)} or the path of a {_SAFETENSORS} file",
        fix="correct the word or the path; it is relative to the working folder",
    )
