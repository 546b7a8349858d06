"""A classifier that was trained elsewhere: its network, its weights, its head."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from edgetl.errors import CheckpointError, ConfigError
from edgetl.reference.description import ClassifierDescription
from edgetl.reference.ending import OUTPUT, find_answer
from edgetl.reference.heads import head_of
from edgetl.reference.network import build_network
from edgetl.reference.state_dict import read_state_dict, shared_prefixes
from edgetl.reference.tensors import check_finite, check_fit
from edgetl.reference.user_code import USER_CODE
from edgetl.spec import ClassifierInput, Head

FACTORY = "factory"


def trained_network(
    architecture: str,
    *,
    weights: str,
    weights_entry: str | None = None,
    weights_prefix: str = "",
    head: str | None = None,
    input: ClassifierInput,
    classes: tuple[str, ...],
    code: Path | None = None,
) -> tuple[nn.Module, ClassifierDescription]:
    """Build a network, give it its trained weights, and find its head.

    Args:
        architecture: As `edgetl.reference.network.build_network` takes it.
        weights: The path of a .safetensors file or of a state dict (.pt, .pth), or ``"factory"``:
            the network of a ``python:`` factory comes with its weights.
        weights_entry: The entry of a .pt file that holds the state dict, such as
            ``"model.state_dict"``.
        weights_prefix: Taken off the keys, such as ``"module."``. A tensor outside it that is
            none of the network's is left out, and a warning is logged that names it.
        head: The last linear layer's dotted name, or ``"output"``; None finds it.
        input: What the classifier takes.
        classes: The labels, in the order of the outputs.
        code: The folder that ``python:`` modules are imported from.

    Returns:
        The network in eval mode on the CPU, and what it is, with a temperature of 1.

    Raises:
        ConfigError: For an architecture, or an input, that makes no network.
        ModelError: When the user's code fails, the network does not answer one tensor
            [batch, classes], or its head cannot be found; then the candidates are named.
        CheckpointError: When the weights cannot be read, do not fit, or hold NaN.

    Example:
        >>> import tempfile, torch
        >>> from edgetl.reference.network import Mlp
        >>> from edgetl.spec import TensorInput
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "w.pt"
        ...     torch.save({"epoch": 3, "model": Mlp(features=4, classes=2).state_dict()}, file)
        ...     network, description = trained_network(
        ...         "mlp", weights=str(file), weights_entry="model",
        ...         input=TensorInput(shape=(4,)), classes=("a", "b"))
        >>> description.head.layer
        'head'
    """
    _check_source(architecture, weights, weights_entry, weights_prefix)
    network = build_network(architecture, len(classes), input, code=code)
    layer = head_of(network, architecture, input=input, classes=classes, head=head)
    if weights == FACTORY:
        check_finite(network.state_dict(), f"the weights of {architecture}")
    else:
        tensors = read_state_dict(
            Path(weights), entry=weights_entry, prefix=weights_prefix, wanted=network.state_dict()
        )
        _take(network, tensors, weights, layer)
    found = Head(layer=layer, classes=classes)
    # Once more with the weights: they may overflow where random ones did not.
    find_answer(network, input=input, head=found)
    description = ClassifierDescription(architecture=architecture, input=input, head=found)
    return network.eval(), description


def _check_source(
    architecture: str, weights: str, weights_entry: str | None, weights_prefix: str
) -> None:
    if weights != FACTORY:
        return
    if not architecture.startswith(USER_CODE):
        raise ConfigError(
            "weights",
            got=f"'{FACTORY}' for '{architecture}', whose weights would be random",
            expected="a .safetensors, .pt or .pth file",
            fix="name the trained weights",
        )
    if weights_entry is not None or weights_prefix:
        raise ConfigError(
            "weights_entry, weights_prefix",
            got=f"a value beside weights = '{FACTORY}'",
            expected="neither: there is no file",
            fix="remove them, or name the file in weights",
        )


def _take(network: nn.Module, tensors: dict[str, Tensor], weights: str, layer: str) -> None:
    subject = f"weights {weights}"
    _check_prefix(tensors, network.state_dict(), subject)
    check_fit(tensors, network, subject, head=None if layer == OUTPUT else layer)
    check_finite(tensors, subject)
    network.load_state_dict(tensors)


def _check_prefix(tensors: Mapping[str, Tensor], wanted: Mapping[str, Any], subject: str) -> None:
    """Say what to take off when the keys would fit without their common beginning."""
    if any(name in wanted for name in tensors):
        return
    for prefix in shared_prefixes(list(tensors)):
        if any(name.removeprefix(prefix) in wanted for name in tensors):
            raise CheckpointError(
                subject,
                got=f"keys that begin with '{prefix}', such as '{_first(tensors, prefix)}'",
                expected=f"the network's own names, such as '{next(iter(wanted))}'",
                fix=f'write weights_prefix = "{prefix}"',
            )


def _first(names: Mapping[str, Any], prefix: str) -> str:
    return next(name for name in names if name.startswith(prefix))
