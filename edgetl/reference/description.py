"""classifier.json: what a checkpoint's weights mean. Read and written without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgetl.errors import CheckpointError, DataError, SpecError
from edgetl.files import parse_json
from edgetl.input_json import input_from_json, input_to_json
from edgetl.reference.architectures import HEAD_KINDS, HEAD_WIDTH, WIDEST, HeadKind
from edgetl.spec import ClassifierInput, Head

SCHEMA = "edgetl.classifier/1"
DESCRIPTION_FILE = "classifier.json"
WEIGHTS_FILE = "model.safetensors"
ONNX_ARCHITECTURE = "onnx"
ONNX_FILE = "model.onnx"
_LARGEST_DESCRIPTION = 16 << 20


@dataclass(frozen=True, kw_only=True)
class ClassifierDescription:
    """What the weights beside it are: the architecture, its input, its head.

    Attributes:
        architecture: A name that `edgetl.reference.network.build_network` knows, or ``onnx``: the
            network is the file model.onnx beside it, as another tool made it.
        input: What the classifier takes.
        head: The last linear layer, the temperature and the classes, in the order of the outputs.
            Of an ONNX file only the temperature and the classes are read.
        output: What an ONNX file answers, where the user had to say so.
        head_kind: What stands at the network's end (`edgetl.reference.head_kinds`).
        head_width: Of the hidden layer of the head ``"mlp"``; of no meaning for another.

    Example:
        >>> from edgetl.spec import TensorInput
        >>> ClassifierDescription(
        ...     architecture="mlp", input=TensorInput(shape=(64,)),
        ...     head=Head(layer="head", classes=("cat", "dog"))).head.temperature
        1.0
    """

    architecture: str
    input: ClassifierInput
    head: Head
    output: Literal["logits", "probabilities"] | None = None
    head_kind: HeadKind = "linear"
    head_width: int = HEAD_WIDTH

    @property
    def weights_file(self) -> str:
        """The name of the file that holds the weights."""
        return ONNX_FILE if self.architecture == ONNX_ARCHITECTURE else WEIGHTS_FILE


@dataclass(frozen=True, kw_only=True)
class WeightsRecord:
    """Size in bytes and SHA-256 of the weights that a description was written for."""

    size: int
    sha256: str


def description_to_json(
    description: ClassifierDescription, weights: WeightsRecord
) -> dict[str, Any]:
    """The description as plain data, as classifier.json holds it."""
    head = description.head
    # Written only where it is needed: other descriptions keep their bytes.
    output = {} if description.output is None else {"output": description.output}
    kind = {} if description.head_kind == "linear" else {"kind": description.head_kind}
    width = {"width": description.head_width} if description.head_kind == "mlp" else {}
    return {
        "schema": SCHEMA,
        "architecture": description.architecture,
        "input": input_to_json(description.input),
        "head": {
            "layer": head.layer,
            "classes": list(head.classes),
            "temperature": head.temperature,
            **kind,
            **width,
        },
        "weights": {
            "file": description.weights_file,
            "size": weights.size,
            "sha256": weights.sha256,
        },
        **output,
    }


def read_description(folder: Path) -> tuple[ClassifierDescription, WeightsRecord]:
    """Read a checkpoint folder's classifier.json.

    Args:
        folder: A folder that `edgetl.reference.checkpoint.save_classifier` wrote.

    Raises:
        CheckpointError: When the folder or the file is missing, or is not such a description.
    """
    path = folder / DESCRIPTION_FILE
    if not path.is_file():
        raise CheckpointError(
            str(folder),
            got=f"no file {DESCRIPTION_FILE}" if folder.is_dir() else "no such folder",
            expected=f"a folder with {DESCRIPTION_FILE} and {WEIGHTS_FILE} or {ONNX_FILE}",
            fix="pass the folder that `edgetl finetune` wrote; other models are refused here",
        )
    if path.stat().st_size > _LARGEST_DESCRIPTION:
        raise _error(path, f"{path.stat().st_size} bytes")
    try:
        return _parse(parse_json(path.read_bytes(), str(path)))
    except DataError as error:
        raise _error(path, error.got) from error
    except SpecError as error:
        raise _error(path, error.got) from error
    except (KeyError, TypeError, ValueError) as error:
        raise _error(path, f"{type(error).__name__}: {error}") from error


def check_head(head: Head) -> None:
    """Refuse labels and temperatures that cannot belong to a classifier.

    Raises:
        ValueError: For fewer than two classes, a label that is empty, repeated or holds control
            characters, or a temperature that is not a finite number above 0.

    Example:
        >>> check_head(Head(layer="fc", classes=("a", "b")))
    """
    if len(head.classes) < 2:
        raise ValueError(f"{len(head.classes)} classes, and a classifier has at least 2")
    for label in head.classes:
        if not isinstance(label, str) or not label.strip() or not label.isprintable():
            raise ValueError(f"the label {label!r}")
    if len(set(head.classes)) != len(head.classes):
        twice = next(label for label in head.classes if head.classes.count(label) > 1)
        raise ValueError(f"the label {twice!r} twice")
    if not (math.isfinite(head.temperature) and head.temperature > 0):
        raise ValueError(f"the temperature {head.temperature}")


def _parse(value: Any) -> tuple[ClassifierDescription, WeightsRecord]:
    if value["schema"] != SCHEMA:
        raise ValueError(f"the schema {value['schema']!r}, not {SCHEMA!r}")
    head = _head(value["head"])
    check_head(head)
    weights = value["weights"]
    description = ClassifierDescription(
        architecture=_text(value["architecture"]),
        input=input_from_json(value["input"]),
        head=head,
        output=_output(value),
        head_kind=_head_kind(value),
        head_width=_head_width(value["head"]),
    )
    if weights["file"] != description.weights_file:
        raise ValueError(f"the weights file {weights['file']!r}, not {description.weights_file!r}")
    record = WeightsRecord(size=int(weights["size"]), sha256=_text(weights["sha256"]))
    return description, record


def _head(value: Mapping[str, Any]) -> Head:
    temperature = value["temperature"]
    if type(temperature) not in (int, float):
        raise TypeError(f"the temperature {temperature!r}")
    if not isinstance(value["classes"], list):
        raise TypeError(f"{value['classes']!r} where a list of classes belongs")
    return Head(
        layer=_text(value["layer"]),
        classes=tuple(_text(label) for label in value["classes"]),
        temperature=float(temperature),
    )


def _head_kind(value: Mapping[str, Any]) -> HeadKind:
    kind: HeadKind = value["head"].get("kind", "linear")
    known = kind in HEAD_KINDS
    if not known or (kind != "linear" and value["architecture"] == ONNX_ARCHITECTURE):
        raise ValueError(f"the head kind {kind!r}")
    return kind


def _head_width(head: Mapping[str, Any]) -> int:
    width = head.get("width", HEAD_WIDTH)
    if type(width) is not int or not 1 <= width <= WIDEST:
        raise ValueError(f"the head width {width!r}")
    return width


def _output(value: Mapping[str, Any]) -> Literal["logits", "probabilities"] | None:
    output = value.get("output")
    if output is not None and (
        output not in ("logits", "probabilities") or value["architecture"] != ONNX_ARCHITECTURE
    ):
        raise ValueError(f"the output {output!r}")
    return output


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where a text belongs")
    return value


def _error(path: Path, got: str) -> CheckpointError:
    return CheckpointError(
        str(path),
        got=got,
        expected=f"a classifier's description, schema {SCHEMA}",
        fix="write the checkpoint anew with `edgetl finetune`",
    )
