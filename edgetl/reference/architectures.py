"""The architectures by name, and which inputs they take. Known without torch."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

from edgetl.errors import ConfigError
from edgetl.reference.user_code import USER_CODE
from edgetl.spec import ClassifierInput, ImageInput, SeveralInputs, TensorInput

HEADS: Mapping[str, str] = MappingProxyType(
    {
        "resnet18": "fc",
        "resnet50": "fc",
        "mobilenet_v2": "classifier.1",
        "mobilenet_v3_small": "classifier.3",
        "mobilenet_v3_large": "classifier.3",
        "efficientnet_b0": "classifier.1",
        "efficientnet_v2_s": "classifier.1",
        "convnext_tiny": "classifier.2",
        "densenet121": "classifier",
        "regnet_y_400mf": "fc",
        "shufflenet_v2_x1_0": "fc",
        "squeezenet1_1": "classifier.1",
        "swin_t": "head",
        "vgg16": "classifier.6",
        "vit_b_16": "heads.head",
        "mlp": "head",
    }
)
"""Architecture -> the dotted name of its last linear layer (of squeezenet1_1, a convolution)."""

ARCHITECTURES = tuple(HEADS)
TIMM = "timm:"
HeadKind = Literal["linear", "mlp", "cosine", "prototype"]
"""What stands at a network's end: `edgetl.reference.head_kinds` says what each of them is."""

HEAD_KINDS: tuple[HeadKind, ...] = get_args(HeadKind)
HEAD_WIDTH = 1024
MLP = "mlp"
_MLP_WIDTHS = (128, 128)
# More is a slip of the finger: a layer of it alone takes gigabytes.
WIDEST = 1 << 16
_DEEPEST = 16
_TIMM_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")
_VIT_PATCH = 16


def check_architecture(architecture: str, input: ClassifierInput) -> None:
    """Refuse an unknown architecture, and one that does not take the input.

    Args:
        architecture: One of `ARCHITECTURES`, of which ``mlp`` takes a tensor and the others an
            image of three channels; ``mlp:WIDTHS``, such as ``mlp:64,32``, which takes a tensor;
            ``timm:NAME``, which takes an image; or ``python:MODULE:FACTORY``, which may take
            anything. Of the last two only the form of the name is looked at.
        input: What the classifier takes.

    Raises:
        ConfigError: Naming what would fit.

    Example:
        >>> check_architecture("resnet18", ImageInput(height=96, width=96))
        >>> check_architecture("python:my_model:make", TensorInput(shape=(64,)))
        >>> check_architecture("mlp:10", TensorInput(shape=(28, 28)))
    """
    if architecture.startswith(USER_CODE):
        _check_user_name(architecture)
        return
    if architecture.startswith(TIMM):
        _check_timm_name(architecture)
    elif is_mlp(architecture):
        mlp_widths(architecture)
    elif architecture not in HEADS:
        raise _unknown(architecture)
    wants_tensor = is_mlp(architecture)
    if wants_tensor != isinstance(input, TensorInput) or isinstance(input, SeveralInputs):
        raise ConfigError(
            f"architecture '{architecture}'",
            got=_kind(input),
            expected="a tensor input" if wants_tensor else "an image input",
            fix="use 'mlp' for tensors, a torchvision or timm network for images, and a network "
            "of your own ('python:MODULE:FACTORY') for anything else",
        )
    if isinstance(input, ImageInput) and not architecture.startswith(TIMM):
        _check_image(architecture, input)


def is_mlp(architecture: str) -> bool:
    """Whether an architecture is edgetl's own network for tensors, of the usual widths or others.

    Example:
        >>> is_mlp("mlp"), is_mlp("mlp:10"), is_mlp("resnet18")
        (True, True, False)
    """
    return architecture == MLP or architecture.startswith(f"{MLP}:")


def mlp_widths(architecture: str) -> tuple[int, ...]:
    """How many units each hidden layer of an ``mlp`` or ``mlp:WIDTHS`` has.

    Raises:
        ConfigError: For widths that are no whole numbers from 1, too many or too large ones.

    Example:
        >>> mlp_widths("mlp"), mlp_widths("mlp:64,32")
        ((128, 128), (64, 32))
    """
    if architecture == MLP:
        return _MLP_WIDTHS
    texts = architecture.removeprefix(f"{MLP}:").split(",")
    # ASCII digits alone: int() would also take spaces, signs, underscores and other scripts.
    fit = all(re.fullmatch(r"[1-9][0-9]{0,5}", text) and int(text) <= WIDEST for text in texts)
    if not fit or len(texts) > _DEEPEST:
        raise ConfigError(
            "architecture",
            got=repr(architecture if len(architecture) <= 80 else architecture[:77] + "..."),
            expected=f"'mlp:WIDTHS', 1 to {_DEEPEST} whole numbers from 1 to {WIDEST} with commas "
            "between them",
            fix="write mlp:10 for one hidden layer of 10 units, mlp:64,32 for two",
        )
    return tuple(int(text) for text in texts)


def known_head(architecture: str) -> str | None:
    """The dotted name of an architecture's last linear layer, where the name alone tells it.

    Example:
        >>> known_head("resnet18"), known_head("mlp:10"), known_head("timm:vit_tiny_patch16_224")
        ('fc', 'head', None)
    """
    return HEADS[MLP] if is_mlp(architecture) else HEADS.get(architecture)


def _check_user_name(architecture: str) -> None:
    _, _, rest = architecture.partition(":")
    module, _, name = rest.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ConfigError(
            "architecture",
            got=repr(architecture),
            expected="python:MODULE:FACTORY, such as python:my_model:make_network",
            fix="name a module beside the config and a function in it that returns the network",
        )


def _check_timm_name(architecture: str) -> None:
    if not _TIMM_NAME.fullmatch(architecture.removeprefix(TIMM)):
        raise ConfigError(
            "architecture",
            got=repr(architecture),
            expected="timm:NAME, such as timm:convnext_atto or timm:vit_tiny_patch16_224",
            fix="take a name from timm.list_models()",
        )


def _unknown(architecture: str) -> ConfigError:
    near = difflib.get_close_matches(architecture, ARCHITECTURES, n=1)
    return ConfigError(
        "architecture",
        got=repr(architecture),
        expected=f"one of {', '.join(ARCHITECTURES)}, 'mlp:WIDTHS', 'timm:NAME' or "
        "'python:MODULE:FACTORY'",
        fix=f"did you mean '{near[0]}'?" if near else "choose one of them",
    )


def _kind(input: ClassifierInput) -> str:
    if isinstance(input, SeveralInputs):
        return f"the inputs {', '.join(input.parts)}"
    return "an image input" if isinstance(input, ImageInput) else "a tensor input"


def _check_image(architecture: str, input: ImageInput) -> None:
    if input.channel_count != 3:
        raise ConfigError(
            f"architecture '{architecture}'",
            got="an image input of 1 channel (channels = 'grey')",
            expected="3 channels",
            fix="leave channels at 'rgb', which gives a grey picture three equal channels, or "
            "take a timm network, which is built for one",
        )
    if architecture != "vit_b_16":
        return
    if input.height != input.width or input.height % _VIT_PATCH:
        raise ConfigError(
            "architecture 'vit_b_16'",
            got=f"an input of {input.height} x {input.width}",
            expected=f"a square whose side is a multiple of {_VIT_PATCH}",
            fix="set both sides to, say, 96 or 224",
        )
