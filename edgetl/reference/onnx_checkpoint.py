"""A classifier that came as an ONNX file, on disk: that file and classifier.json beside it."""

from __future__ import annotations

from pathlib import Path

from edgetl.errors import CheckpointError
from edgetl.files import sha256_bytes, write_atomic, write_json
from edgetl.reference.description import (
    DESCRIPTION_FILE,
    ONNX_ARCHITECTURE,
    ONNX_FILE,
    ClassifierDescription,
    WeightsRecord,
    check_head,
    description_to_json,
    read_description,
)
from edgetl.reference.onnx_file import describe_onnx
from edgetl.reference.onnx_inputs import input_parts


def save_onnx_classifier(folder: Path, model: bytes, description: ClassifierDescription) -> None:
    """Write a user's ONNX file, unchanged, and what it is. Nothing in it is run.

    Args:
        folder: Made when it is not there; other files in it stay.
        model: The bytes of the file.
        description: Of the architecture ``onnx``.

    Raises:
        ModelError: When the file is refused, or does not take `description.input`.
        CheckpointError: When the description is of another architecture, or its head cannot be a
            classifier's.
    """
    where = str(folder / DESCRIPTION_FILE)
    if description.architecture != ONNX_ARCHITECTURE:
        raise CheckpointError(
            where,
            got=f"the architecture '{description.architecture}'",
            expected=f"'{ONNX_ARCHITECTURE}' for an ONNX file",
            fix="save a network of PyTorch with save_classifier",
        )
    try:
        check_head(description.head)
    except ValueError as error:
        raise CheckpointError(
            where,
            got=str(error),
            expected="distinct printable labels and a temperature above 0",
            fix="mend the classes or the temperature",
        ) from error
    input_parts(describe_onnx(model, output=description.output), description.input)
    record = WeightsRecord(size=len(model), sha256=sha256_bytes(model))
    write_atomic(folder / ONNX_FILE, model)
    write_json(folder / DESCRIPTION_FILE, description_to_json(description, record))


def load_onnx_classifier(folder: Path) -> tuple[bytes, ClassifierDescription]:
    """Read what `save_onnx_classifier` wrote; `OnnxNetwork` makes a network of it.

    Args:
        folder: The checkpoint folder.

    Returns:
        The bytes of the user's ONNX file, and their description.

    Raises:
        CheckpointError: When a file is missing, the description is not of an ONNX file, or the
            bytes are not the described ones (by SHA-256).
    """
    description, record = read_description(folder)
    path = folder / ONNX_FILE
    if description.architecture != ONNX_ARCHITECTURE:
        raise CheckpointError(
            str(folder),
            got=f"a checkpoint of the architecture '{description.architecture}'",
            expected=f"'{ONNX_ARCHITECTURE}'",
            fix="load it with load_classifier",
        )
    if not path.is_file():
        raise CheckpointError(
            str(path),
            got="not a regular file" if path.exists() else "no such file",
            expected=f"the model that {DESCRIPTION_FILE} describes",
            fix="copy the whole folder again",
        )
    model = path.read_bytes()
    if (record.size, record.sha256) != (len(model), sha256_bytes(model)):
        raise CheckpointError(
            str(path),
            got=f"{len(model)} bytes whose SHA-256 is not the recorded one",
            expected=f"{record.size} bytes, SHA-256 {record.sha256}",
            fix="copy the whole folder again",
        )
    return model, description
