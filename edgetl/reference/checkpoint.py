"""A classifier on disk: model.safetensors and classifier.json, nothing that can run code."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn

from edgetl.errors import CheckpointError, ConfigError, ModelError
from edgetl.extras import extra
from edgetl.files import sha256_bytes, write_atomic, write_json
from edgetl.reference.architectures import known_head
from edgetl.reference.description import (
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    ClassifierDescription,
    WeightsRecord,
    check_head,
    description_to_json,
    read_description,
)
from edgetl.reference.ending import OUTPUT, head_module
from edgetl.reference.head_kinds import LAST, block_name, give_head
from edgetl.reference.network import build_network, head_layer
from edgetl.reference.tensors import check_finite, check_fit, parse_tensors, state_of
from edgetl.reference.user_code import USER_CODE

__all__ = ["ClassifierDescription", "load_classifier", "read_description", "save_classifier"]


def save_classifier(
    folder: Path,
    network: nn.Module,
    description: ClassifierDescription,
    *,
    code: Path | None = None,
) -> None:
    """Write a network's weights and their description. The same weights give the same bytes.

    Args:
        folder: Made when it is not there; other files in it stay.
        network: Of `description.architecture`, on any device.
        description: What the weights are.
        code: The folder of the user's module, which an architecture ``python:…`` needs: the
            weights are held against a network that the factory makes again.

    Raises:
        CheckpointError: When a weight is NaN or infinite, or the description does not fit.
    """
    with extra("train"):
        from safetensors.torch import save
    subject = str(folder / WEIGHTS_FILE)
    state = state_of(network, subject)
    check_finite(state, subject)
    try:
        check_head(description.head)
    except ValueError as error:
        raise CheckpointError(
            str(folder / DESCRIPTION_FILE),
            got=str(error),
            expected="distinct printable labels and a temperature above 0",
            fix="mend the classes or the temperature",
        ) from error
    check_fit(state, _skeleton(description, subject, code), subject, head=description.head.layer)
    data = save(state, metadata={"format": "pt"})
    weights = WeightsRecord(size=len(data), sha256=sha256_bytes(data))
    write_atomic(folder / WEIGHTS_FILE, data)
    write_json(folder / DESCRIPTION_FILE, description_to_json(description, weights))


def load_classifier(
    folder: Path, *, code: Path | None = None
) -> tuple[nn.Module, ClassifierDescription]:
    """Read what `save_classifier` wrote.

    Args:
        folder: The checkpoint folder.
        code: The folder that the module of an architecture ``python:…`` is imported from. A
            checkpoint never imports code on its own word: without this it is refused.

    Returns:
        The network on the CPU, in eval mode, and its description.

    Raises:
        CheckpointError: When a file is missing, the weights are not the described ones (by
            SHA-256), are not safetensors, do not fit the architecture or the labels, hold NaN,
            or the architecture is code that the caller did not give.
    """
    description, record = read_description(folder)
    _check_kind(description, folder, code)
    path = folder / WEIGHTS_FILE
    subject = str(path)
    if not path.is_file():
        raise CheckpointError(
            subject,
            got="not a regular file" if path.exists() else "no such file",
            expected=f"the weights that {DESCRIPTION_FILE} describes",
            fix="copy the whole folder that `edgetl finetune` wrote",
        )
    data = path.read_bytes()
    tensors = parse_tensors(data, subject)
    network = _skeleton(description, subject, code)
    check_fit(tensors, network, subject, head=description.head.layer)
    check_finite(tensors, subject)
    # After the checks that can say more: a changed byte in the numbers shows only here.
    if (record.size, record.sha256) != (len(data), sha256_bytes(data)):
        raise CheckpointError(
            subject,
            got=f"{len(data)} bytes whose SHA-256 is not the recorded one",
            expected=f"{record.size} bytes, SHA-256 {record.sha256}",
            fix="copy the whole folder again, or train anew",
        )
    # A network that was really built keeps its tied weights tied.
    network.load_state_dict(tensors, assign=_builds_on_meta(description.architecture))
    return network.eval(), description


def _check_kind(description: ClassifierDescription, folder: Path, code: Path | None) -> None:
    architecture = description.architecture
    if architecture.startswith(USER_CODE) and code is None:
        raise CheckpointError(
            str(folder / DESCRIPTION_FILE),
            got=f"the architecture '{architecture}', which is code, and no folder to take it from",
            expected="the folder of the module from whoever loads the checkpoint",
            fix="pass code=FOLDER, if you trust what is in it",
        )
    if description.weights_file != WEIGHTS_FILE:
        raise CheckpointError(
            str(folder / DESCRIPTION_FILE),
            got=f"the architecture '{architecture}'",
            expected="a network of PyTorch",
            fix="load it with edgetl.reference.onnx_checkpoint.load_onnx_classifier",
        )


def _skeleton(description: ClassifierDescription, subject: str, code: Path | None) -> nn.Module:
    """The network that the weights must fit, made without a draw from the random state."""
    architecture, classes = description.architecture, len(description.head.classes)
    try:
        place = torch.device("meta") if _builds_on_meta(architecture) else nullcontext()
        with torch.random.fork_rng(devices=[]), place:
            network = build_network(architecture, classes, description.input, code=code)
            _give_head(network, description)
        _check_layer(network, description, subject)
    except ConfigError as error:
        raise CheckpointError(
            f"{subject}, {error.subject}", got=error.got, expected=error.expected, fix=error.fix
        ) from error
    return network


def _give_head(network: nn.Module, description: ClassifierDescription) -> None:
    """The described kind of head, where its last layer's name says: nothing has to be searched."""
    kind, layer = description.head_kind, description.head.layer
    block = block_name(layer, kind)
    if kind != "linear" and layer != f"{block}.{LAST}":
        raise ConfigError(
            "head layer",
            got=f"'{layer}' of a head of kind '{kind}'",
            expected=f"a name that ends in '.{LAST}'",
            fix="take the layer's name from head_of(network, architecture, head_kind=...)",
        )
    give_head(
        network,
        block,
        kind,
        width=description.head_width,
        architecture=description.architecture,
    )


def _builds_on_meta(architecture: str) -> bool:
    """Without memory for its weights: a network that computes while it is built cannot."""
    return known_head(architecture) is not None and not architecture.startswith("regnet")


def _check_layer(network: nn.Module, description: ClassifierDescription, subject: str) -> None:
    layer = description.head.layer
    if layer == OUTPUT:
        return
    if known_head(description.architecture) is None:
        try:
            head_module(network, layer, len(description.head.classes))
        except ModelError as error:
            raise CheckpointError(
                f"{subject}, {error.subject}", got=error.got, expected=error.expected, fix=error.fix
            ) from error
        return
    known = head_layer(network, description.architecture, description.head_kind)
    if layer != known:
        raise CheckpointError(
            subject,
            got=f"the head layer '{layer}'",
            expected=f"'{known}' for {description.architecture}",
            fix="take the layer's name from head_layer(network, architecture)",
        )
