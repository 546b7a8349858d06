"""Where networks come from: torchvision, timm, or a function of the user's own."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from edgetl.errors import CheckpointError, ConfigError, EdgetlError, ModelError
from edgetl.extras import extra
from edgetl.reference.architectures import TIMM
from edgetl.reference.user_code import load_object, told
from edgetl.spec import ImageInput

_CLASSES = ("classes", "num_classes")


def torchvision_network(architecture: str, classes: int, input: ImageInput) -> nn.Module:
    """One of torchvision's own, with random weights."""
    with extra("train"):
        from torchvision import models
    if architecture == "vit_b_16":
        network = models.vit_b_16(weights=None, num_classes=classes, image_size=input.height)
    else:
        network = models.get_model(architecture, weights=None, num_classes=classes)
    return cast(nn.Module, network)


def timm_network(architecture: str, classes: int, input: ImageInput) -> nn.Module:
    """A timm network for the input's channels, and for its size where the network needs that.

    Args:
        architecture: ``timm:NAME``.
        classes: How many outputs.
        input: The image.

    Raises:
        ConfigError: For a name that timm does not know, or an input that the network cannot be
            built for.
    """
    with extra("train"):
        import timm
    name = architecture.removeprefix(TIMM)
    if not timm.is_model(name):
        near = difflib.get_close_matches(name.partition(".")[0], timm.list_models(), n=3)
        raise ConfigError(
            "architecture",
            got=f"'{architecture}', which timm {timm.__version__} does not know",
            expected="a name of timm.list_models()",
            fix=f"did you mean {' or '.join(near)}?" if near else "look the name up there",
        )
    try:
        network = timm.create_model(name, **_timm_options(name, classes, input))
    # Among them AssertionError: what a builder says about a size differs from network to network.
    except Exception as error:
        words = (str(error).strip() or "no message").split("\n")[0][:300]
        raise ConfigError(
            f"architecture '{architecture}'",
            got=f"{type(error).__name__}: {words}",
            expected=f"a network for {input.channel_count} x {input.height} x {input.width}",
            fix="choose an input size that the network can be built for",
        ) from error
    return cast(nn.Module, network)


def timm_pretrained(architecture: str, classes: int, input: ImageInput) -> tuple[nn.Module, bool]:
    """The network of `timm_network` with the weights that timm downloads for it.

    Returns:
        The network, and whether its head is the published one too: it has as many classes.

    Raises:
        CheckpointError: When there are none, or they cannot be downloaded.
    """
    with extra("train"):
        import timm
    name = architecture.removeprefix(TIMM)
    try:
        network = timm.create_model(name, pretrained=True, **_timm_options(name, classes, input))
    # The download's client raises errors of many kinds.
    except Exception as error:
        words = (str(error).strip() or "no message").split("\n")[0][:300]
        raise CheckpointError(
            f"weights of {architecture}",
            got=f"{type(error).__name__}: {words}",
            expected="published weights, which timm downloads",
            fix="check the network; 'none' and a .safetensors file need no download",
        ) from error
    return cast(nn.Module, network), timm.get_pretrained_cfg(name).num_classes == classes


def _timm_options(name: str, classes: int, input: ImageInput) -> dict[str, Any]:
    with extra("train"):
        import timm
    config = timm.get_pretrained_cfg(name)
    sized = config is not None and config.fixed_input_size
    return {
        "num_classes": classes,
        "in_chans": input.channel_count,
        **({"img_size": (input.height, input.width)} if sized else {}),
    }


def user_network(architecture: str, classes: int, code: Path) -> nn.Module:
    """What a user's factory returns, in float32 on the CPU.

    The factory is called with ``classes=`` or ``num_classes=`` when it has such a parameter, and
    with no argument otherwise. ``DataParallel`` and a compiled module give the network inside.

    Args:
        architecture: ``python:MODULE:FACTORY``.
        classes: How many outputs.
        code: The folder that the module is imported from.

    Raises:
        ConfigError: When the module or the factory is not there, or needs other arguments.
        ModelError: When it raises, or returns something else than a network.
    """
    factory = load_object(architecture, code)
    arguments = _arguments(architecture, factory, classes)
    try:
        network = factory(**arguments)
    except EdgetlError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(
            architecture,
            got=told(error, code),
            expected="a factory that returns the network",
            fix="call the factory by itself and mend what it says",
        ) from error
    network = _unwrapped(network)
    _check_network(architecture, network)
    # The reference is FP32 by definition.
    return cast(nn.Module, network).to("cpu", torch.float32)


def _arguments(architecture: str, factory: Any, classes: int) -> dict[str, int]:
    if not callable(factory) or isinstance(factory, nn.Module):
        raise ConfigError(
            architecture,
            got=f"a {type(factory).__name__}",
            expected="a function that returns the network, or its class",
            fix="name the function, or write one: def make(classes): return ...",
        )
    try:
        signature = inspect.signature(cast("Callable[..., Any]", factory))
    except (TypeError, ValueError) as error:
        raise _unfit(architecture, str(error)) from error
    parameters = signature.parameters
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    passed = next(
        (name for name in _CLASSES if name in parameters and parameters[name].kind in by_name), None
    )
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and parameter.kind not in optional
    ]
    if any(name != passed for name in needed):
        raise _unfit(architecture, f"the signature {signature}")
    return {} if passed is None else {passed: classes}


def _unfit(architecture: str, got: str) -> ConfigError:
    return ConfigError(
        architecture,
        got=got,
        expected="a factory without arguments that must be given, other than classes or "
        "num_classes",
        fix="give the others default values, or write a function that calls it with them",
    )


def _unwrapped(network: Any) -> Any:
    if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return _unwrapped(network.module)
    # torch.compile's wrapper, which its type is not imported for.
    inner = network.__dict__.get("_modules", {}) if hasattr(network, "__dict__") else {}
    return _unwrapped(inner["_orig_mod"]) if "_orig_mod" in inner else network


def _check_network(architecture: str, network: Any) -> None:
    lazy = isinstance(network, nn.Module) and any(map(is_lazy, network.state_dict().values()))
    if isinstance(network, nn.Module) and not isinstance(network, torch.jit.ScriptModule):
        if not lazy:
            return
        got, fix = "a network with lazy layers", "run one batch through it before returning it"
    else:
        got = "a TorchScript module" if isinstance(network, nn.Module) else type(network).__name__
        fix = "return the torch.nn.Module that was written in Python"
    raise ModelError(architecture, got=got, expected="a torch.nn.Module", fix=fix)
