"""OpenVINO's IR from ONNX: FP32 stays FP32, and the same model gives the same bytes."""

from __future__ import annotations

import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from edgetl.backends.onnx_check import check_onnx
from edgetl.backends.onnx_wire import OnnxModel
from edgetl.backends.openvino import import_openvino
from edgetl.errors import ModelError


def openvino_from_onnx(model: bytes) -> tuple[bytes, bytes]:
    """Convert an ONNX model to an OpenVINO IR.

    Weights keep their types: nothing is compressed to FP16, and INT8 weights stay INT8. Layer
    names that OpenVINO numbers in the order of its process are replaced, and what it notes of
    paths and versions is left out, so that the bytes depend on the model and OpenVINO alone.

    Args:
        model: The bytes of an ONNX file: FP32, or INT8 with QDQ nodes.

    Returns:
        The contents of the ``.xml`` and the ``.bin`` file.

    Raises:
        ModelError: When the model is refused, cannot be converted, or comes out with other
            inputs or outputs.
        MissingExtraError: When OpenVINO is not installed.
    """
    read = check_onnx(model)
    openvino = import_openvino()
    try:
        xml, weights = _converted(openvino, model, read)
    except RuntimeError as error:
        raise ModelError(
            "ONNX model",
            got=" ".join(str(error).split())[:400],
            expected="a model that OpenVINO can read",
            fix="export the model anew, or leave the openvino variants out",
        ) from error
    return _normalized(xml, read.names()), weights


def _converted(openvino: Any, model: bytes, read: OnnxModel) -> tuple[bytes, bytes]:
    # OpenVINO converts from paths, and serialises to paths, only.
    with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
        onnx, xml, weights = (Path(folder) / f"model.{end}" for end in ("onnx", "xml", "bin"))
        onnx.write_bytes(model)
        converted = openvino.convert_model(onnx)
        _check_ends(read, converted)
        openvino.serialize(converted, xml, weights)
        return xml.read_bytes(), weights.read_bytes()


def _check_ends(read: OnnxModel, converted: Any) -> None:
    held = {tensor.name for tensor in read.initializers}
    wanted = (set(read.inputs) - held, set(read.outputs))
    got = (
        {name for port in converted.inputs for name in port.names},
        {name for port in converted.outputs for name in port.names},
    )
    if not all(names <= found for names, found in zip(wanted, got, strict=True)):
        raise ModelError(
            "OpenVINO model",
            got=f"inputs {sorted(got[0])} and outputs {sorted(got[1])}",
            expected=f"inputs {sorted(wanted[0])} and outputs {sorted(wanted[1])}",
            fix="export the model with every input in use",
        )


def _normalized(xml: bytes, known: set[str]) -> bytes:
    root = ElementTree.fromstring(xml)
    taken = set(known)
    for layer in root.iterfind("layers/layer"):
        if layer.attrib["name"] not in known:
            layer.set("name", _free_name(f"{layer.attrib['type']}_{layer.attrib['id']}", taken))
    for facts in root.findall("rt_info"):
        root.remove(facts)
    text: str = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0"?>\n{text}\n'.encode()


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
