"""A classifier on disk: model.safetensors and classifier.json, nothing that can run code."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from edgetl.errors import CheckpointError, ConfigError
from edgetl.extras import extra
from edgetl.files import sha256_bytes, write_atomic, write_json
from edgetl.reference.description import (
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    ClassifierDescription,
    WeightsRecord,
    check_head,
    description_to_json,
    read_description,
)
from edgetl.reference.network import build_network, head_layer
from edgetl.reference.tensors import check_finite, check_fit, parse_tensors

__all__ = ["ClassifierDescription", "load_classifier", "read_description", "save_classifier"]


def save_classifier(folder: Path, network: nn.Module, description: ClassifierDescription) -> None:
    """Write a network's weights and their description. The same weights give the same bytes.

    Args:
        folder: Made when it is not there; other files in it stay.
        network: Of `description.architecture`, on any device.
        description: What the weights are.

    Raises:
        CheckpointError: When a weight is NaN or infinite, or the description does not fit.
    """
    with extra("train"):
        from safetensors.torch import save
    subject = str(folder / WEIGHTS_FILE)
    state = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
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
    check_fit(state, _skeleton(description, subject), subject, head=description.head.layer)
    data = save(state, metadata={"format": "pt"})
    weights = WeightsRecord(size=len(data), sha256=sha256_bytes(data))
    write_atomic(folder / WEIGHTS_FILE, data)
    write_json(folder / DESCRIPTION_FILE, description_to_json(description, weights))


def load_classifier(folder: Path) -> tuple[nn.Module, ClassifierDescription]:
    """Read what `save_classifier` wrote.

    Args:
        folder: The checkpoint folder.

    Returns:
        The network on the CPU, in eval mode, and its description.

    Raises:
        CheckpointError: When a file is missing, the weights are not the described ones (by
            SHA-256), are not safetensors, do not fit the architecture or the labels, or hold NaN.
    """
    description, record = read_description(folder)
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
    network = _skeleton(description, subject)
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
    network.load_state_dict(tensors, assign=True)
    return network.eval(), description


def _skeleton(description: ClassifierDescription, subject: str) -> nn.Module:
    """The network without memory for its weights, and without a draw from the random state."""
    try:
        with torch.device("meta"):
            network = build_network(
                description.architecture, len(description.head.classes), description.input
            )
        layer = head_layer(network, description.architecture)
    except ConfigError as error:
        raise CheckpointError(
            f"{subject}, {error.subject}", got=error.got, expected=error.expected, fix=error.fix
        ) from error
    if layer != description.head.layer:
        raise CheckpointError(
            subject,
            got=f"the head layer '{description.head.layer}'",
            expected=f"'{layer}' for {description.architecture}",
            fix="take the layer's name from head_layer(network, architecture)",
        )
    return network
