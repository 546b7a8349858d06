from __future__ import annotations

import hashlib
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgetl.backends.registry import load
from edgetl.compile.openvino_from_onnx import openvino_from_onnx
from edgetl.errors import MissingExtraError, ModelError
from edgetl.spec import Precision, Variant
from tests.backends.conformance import run_script
from tests.backends.helpers.models import conv_net, images, int8_net, root_net


@pytest.fixture(scope="module", params=[conv_net, int8_net, root_net])
def model(request: pytest.FixtureRequest) -> bytes:
    made: bytes = request.param()
    return made


def test_answers_as_onnx_runtime_does() -> None:
    xml, weights = openvino_from_onnx(conv_net())
    ir = Variant(id="ov", backend="openvino", precision=Precision.FP32, files=("x", "b"))
    ort = Variant(id="onnxruntime", backend="onnxruntime", precision=Precision.FP32, files=("o",))
    files = {"x": xml, "b": weights, "o": conv_net()}
    given = {"image": images(64)}
    ours, theirs = (load(v, files, threads=1).run(given)["probabilities"] for v in (ir, ort))
    assert len(set(theirs.argmax(1))) >= 3
    assert np.ptp(theirs, axis=0).min() > 0.5, "a network that answers all alike proves nothing"
    assert abs(ours - theirs).max() < 1e-5


def test_same_bytes_twice_and_in_another_process(model: bytes, tmp_path: Path) -> None:
    first = openvino_from_onnx(model)
    # OpenVINO numbers what it makes through the life of a process.
    assert openvino_from_onnx(model) == first
    (tmp_path / "m.onnx").write_bytes(model)
    script = (
        "from pathlib import Path; from hashlib import sha256\n"
        "from edgetl.compile.openvino_from_onnx import openvino_from_onnx\n"
        "found = openvino_from_onnx(Path('m.onnx').read_bytes())\n"
        "print(*(sha256(part).hexdigest() for part in found))"
    )
    assert run_script(script, tmp_path).split() == [hashlib.sha256(p).hexdigest() for p in first]


def test_names_no_path_time_or_version(model: bytes) -> None:
    xml, _ = openvino_from_onnx(model)
    assert ElementTree.fromstring(xml).find("rt_info") is None
    assert not re.search(rb"/(tmp|home|work|usr)/|20\d\d[-.]\d|Runtime|\.onnx|conversion", xml)


def test_weights_keep_their_types() -> None:
    xml, weights = openvino_from_onnx(conv_net())
    held = sum(
        int(np.prod(tensor.dims)) for tensor in onnx.load_from_string(conv_net()).graph.initializer
    )
    assert len(weights) >= 4 * held
    assert b'element_type="f16"' not in xml
    assert b"FP16" not in xml
    int8_xml, int8_weights = openvino_from_onnx(int8_net())
    assert b'element_type="i8" shape="24, 16, 3, 3"' in int8_xml
    assert len(int8_weights) < len(weights) / 2


def test_layer_names_stay_unique_and_known_ones_stay(model: bytes) -> None:
    xml, _ = openvino_from_onnx(model)
    names = [layer.attrib["name"] for layer in ElementTree.fromstring(xml).iter("layer")]
    assert len(set(names)) == len(names)
    outputs = {name for node in onnx.load_from_string(model).graph.node for name in node.output}
    assert outputs & set(names)


def test_an_unused_input_is_not_dropped_in_silence() -> None:
    changed = onnx.load_from_string(root_net())
    extra = helper.make_tensor_value_info("unused", TensorProto.FLOAT, ["batch", 2])
    changed.graph.input.append(extra)
    try:
        xml, _ = openvino_from_onnx(changed.SerializeToString())
    except ModelError as error:
        assert "unused" in error.expected
    else:
        assert b'names="unused"' in xml


def test_what_openvino_cannot_read_is_a_model_error() -> None:
    changed = onnx.load_from_string(root_net())
    changed.graph.node[0].input[0] = "nowhere"
    with pytest.raises(ModelError, match="a model that OpenVINO can read"):
        openvino_from_onnx(changed.SerializeToString())


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"edgetl\[openvino\]"):
        openvino_from_onnx(conv_net())
